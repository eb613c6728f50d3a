package filigree.cli;

import filigree.interp.circuit.JournalFile;
import filigree.sparsity.RunException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The journals of a search, one for each model, beside the folder that the result will be: it
 * appears only when it is whole. A search that fails keeps those that remember something.
 */
final class CircuitJournals implements AutoCloseable {
  private final Path out;
  private final JournalFile.IfExists ifExists;
  private final List<JournalFile> journals = new ArrayList<>();

  /**
   * Prepares journals.
   *
   * @param out the folder of the result
   * @param ifExists what becomes of those of an interrupted search
   */
  CircuitJournals(Path out, JournalFile.IfExists ifExists) {
    this.out = out.toAbsolutePath().normalize();
    this.ifExists = ifExists;
  }

  /** Opens the journal of the next model. */
  JournalFile next(String search) {
    Path file =
        out.resolveSibling("%s.journal-%d".formatted(out.getFileName(), journals.size() + 1));
    try {
      Files.createDirectories(out.getParent());
    } catch (IOException e) {
      throw new RunException(
          "--out %s: the folder cannot be written: %s".formatted(out, e.getMessage()), e);
    }
    JournalFile journal = JournalFile.open(file, search, ifExists);
    journals.add(journal);
    return journal;
  }

  /** The result is there. */
  void forget() {
    journals.forEach(CircuitJournals::delete);
    journals.clear();
  }

  @Override
  public void close() {
    journals.stream().filter(journal -> journal.runs() == 0).forEach(CircuitJournals::delete);
  }

  private static void delete(JournalFile journal) {
    try {
      Files.deleteIfExists(journal.file());
    } catch (IOException e) {
      throw new RunException(journal.file() + ": cannot be deleted: " + e.getMessage(), e);
    }
  }
}
