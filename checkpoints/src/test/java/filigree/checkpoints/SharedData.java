package filigree.checkpoints;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** Real checkpoints and texts that lie beside a checkout; they are not part of the project. */
final class SharedData {
  private SharedData() {}

  /** Finds a file or folder, or skips the test and says why. */
  static Path require(String name) {
    String given = System.getProperty("filigree.data");
    List<Path> roots =
        given == null
            ? List.of(Path.of("../shared/data"), Path.of("../../shared/data"))
            : List.of(Path.of(given));
    for (Path root : roots) {
      if (Files.exists(root.resolve(name))) {
        return root.resolve(name);
      }
    }
    Assumptions.abort(name + " is not in " + roots + "; set -Dfiligree.data to the shared data");
    throw new AssertionError("abort throws");
  }
}
