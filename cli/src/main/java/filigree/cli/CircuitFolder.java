package filigree.cli;

import filigree.sparsity.RunException;
import java.io.IOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** A folder that appears under its name with all of its files in it, or not at all. */
final class CircuitFolder {
  /** Writes a file that is more than a text. */
  interface Page {
    void write(Path file);
  }

  private CircuitFolder() {}

  /**
   * Writes texts and pages beside the folder and renames.
   *
   * @param folder does not exist, or is empty
   * @param texts by name
   * @param pages by name
   */
  static void write(Path folder, Map<String, String> texts, Map<String, Page> pages) {
    Path target = folder.toAbsolutePath().normalize();
    Path temporary =
        target.resolveSibling(target.getFileName() + "." + ProcessHandle.current().pid() + ".part");
    try {
      Files.createDirectories(temporary);
      try {
        for (Map.Entry<String, String> text : texts.entrySet()) {
          Files.writeString(temporary.resolve(text.getKey()), text.getValue());
        }
        pages.forEach((name, page) -> page.write(temporary.resolve(name)));
        rename(temporary, target);
      } finally {
        delete(temporary);
      }
    } catch (IOException e) {
      throw new RunException(
          "--out %s: the folder cannot be written: %s".formatted(folder, e.getMessage()), e);
    }
  }

  private static void rename(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (AtomicMoveNotSupportedException e) {
      Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  /** What is left after a failure; nothing after the rename. */
  private static void delete(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    List<Path> all;
    try (Stream<Path> inside = Files.walk(folder)) {
      all = inside.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path path : all) {
      Files.delete(path);
    }
  }
}
