package filigree.interp.circuit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Gates;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JournalTest {
  private static final String SEARCH = "a search";

  @TempDir Path folder;

  /** What a kill is to a search. */
  private static final class Killed extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /** Counts runs that are done, and may end the search before one. */
  private static final class Counting implements Journal {
    private final Journal journal;
    private final int most;
    private int done;

    Counting(Journal journal, int most) {
      this.journal = journal;
      this.most = most;
    }

    @Override
    public double[] recall(Supplier<double[]> run) {
      return journal.recall(
          () -> {
            if (done == most) {
              throw new Killed();
            }
            done++;
            return run.get();
          });
    }
  }

  private static List<Double> search(String method, Journal journal) {
    try (Workspace memory = new Workspace("journal test");
        Kernels kernels = Backend.ND4J.open(1)) {
      Subject subject =
          new Subject(
              ToyModel.junction(ToyModel.Junction.OR).build(memory), Gates.dense(), kernels);
      try (Study study =
          new Study(
              subject,
              ToyModel.junctionPrompts(),
              Settings.of(Metric.LOGIT_DIFFERENCE),
              Progress.ignored(),
              journal)) {
        CircuitSearch.Request request =
            new CircuitSearch.Request(
                Method.parse(method),
                Ranking.Level.EDGE,
                CircuitGraph.Split.WHOLE,
                Direction.CORRUPT,
                Curve.Plan.of(Ablation.RESAMPLE),
                new Bootstrap.Plan(20, 0.95, 1));
        Finding found = CircuitSearch.run(study, request, Map.of());
        return found.curve().points().stream()
            .flatMap(point -> Arrays.stream(point.values()).boxed())
            .toList();
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"patch", "eap-ig", "acdc"})
  void anInterruptedSearchGoesOnAndFindsTheSame(String method) {
    Counting whole = new Counting(Journal.none(), Integer.MAX_VALUE);
    List<Double> expected = search(method, whole);
    assertThat(whole.done).isGreaterThan(3);
    Path file = folder.resolve("journal");
    int redone = 0;
    for (int kill = 0; kill < 3; kill++) {
      try (JournalFile journal = JournalFile.open(file, SEARCH, JournalFile.IfExists.GO_ON)) {
        assertThat(journal.remembered()).isEqualTo(kill);
        Counting counting = new Counting(journal, 1);
        assertThatThrownBy(() -> search(method, counting)).isInstanceOf(Killed.class);
        redone += counting.done;
      }
    }
    try (JournalFile journal = JournalFile.open(file, SEARCH, JournalFile.IfExists.GO_ON)) {
      Counting rest = new Counting(journal, Integer.MAX_VALUE);
      assertThat(search(method, rest)).isEqualTo(expected);
      assertThat(rest.done + redone).isEqualTo(whole.done);
    }
  }

  @Test
  void aTornRecordIsDroppedWhereverItIsCut() throws IOException {
    Path file = folder.resolve("journal");
    write(file, new double[] {1, 2}, new double[] {}, new double[] {3});
    byte[] all = Files.readAllBytes(file);
    for (int length = 0; length < all.length; length++) {
      Path cut = folder.resolve("cut");
      Files.write(cut, Arrays.copyOf(all, length));
      try (JournalFile journal = JournalFile.open(cut, SEARCH, JournalFile.IfExists.GO_ON)) {
        assertThat(journal.remembered()).isLessThan(3);
        while (journal.remembered() > 0) {
          journal.recall(() -> new double[] {-1});
        }
        journal.recall(() -> new double[] {7});
      }
      try (JournalFile journal = JournalFile.open(cut, SEARCH, JournalFile.IfExists.GO_ON)) {
        double[] last = {};
        while (journal.remembered() > 0) {
          last = journal.recall(() -> new double[] {-1});
        }
        assertThat(last).containsExactly(7);
      }
      Files.delete(cut);
    }
  }

  @Test
  void aChangedNumberEndsWhatIsRemembered() throws IOException {
    Path file = folder.resolve("journal");
    write(file, new double[] {1, 2}, new double[] {3});
    byte[] all = Files.readAllBytes(file);
    all[all.length - 6] ^= 1;
    Files.write(file, all);
    try (JournalFile journal = JournalFile.open(file, SEARCH, JournalFile.IfExists.GO_ON)) {
      assertThat(journal.remembered()).isEqualTo(1);
    }
  }

  @Test
  void anotherSearchIsRefusedAndItsJournalKept() throws IOException {
    Path file = folder.resolve("journal");
    write(file, new double[] {1, 2});
    byte[] before = Files.readAllBytes(file);
    assertThatThrownBy(() -> JournalFile.open(file, "another", JournalFile.IfExists.GO_ON))
        .isInstanceOf(CircuitException.class)
        .hasMessageContaining("is of another search");
    assertThatThrownBy(() -> JournalFile.open(file, SEARCH, JournalFile.IfExists.FAIL))
        .isInstanceOf(CircuitException.class)
        .hasMessageContaining("go on with it by --resume");
    assertThat(Files.readAllBytes(file)).isEqualTo(before);
  }

  private static void write(Path file, double[]... records) {
    try (JournalFile journal = JournalFile.open(file, SEARCH, JournalFile.IfExists.FAIL)) {
      for (double[] record : records) {
        assertThat(journal.recall(() -> record)).isEqualTo(record);
      }
    }
  }
}
