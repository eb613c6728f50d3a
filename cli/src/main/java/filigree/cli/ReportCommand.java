package filigree.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.interp.report.RunPage;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** One page for one or several runs. */
@Command(
    name = "report",
    mixinStandardHelpOptions = true,
    description = "Writes one self-contained HTML page for one or several runs.")
final class ReportCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;

  @Parameters(
      paramLabel = "RUN",
      arity = "1..*",
      description = "Run folders, as written by train, sparsify or demo.")
  private List<Path> runs;

  @Option(
      names = "--out",
      paramLabel = "PAGE",
      description = "The page to write (default: report.html in the first run's folder).")
  private Path out;

  @Override
  public Integer call() {
    Path page = out == null ? runs.getFirst().resolve("report.html") : out;
    RunPage.write(runs, page);
    ObjectNode json = common.object();
    json.put("page", page.toString());
    common.print(json);
    return Main.DONE;
  }
}
