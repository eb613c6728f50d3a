package filigree.cli;

import filigree.checkpoints.AtomicFiles;
import filigree.sparsity.RunException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

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
    Path temporary = AtomicFiles.temporarySibling(target);
    try {
      Files.createDirectories(temporary);
      for (Map.Entry<String, String> text : texts.entrySet()) {
        Files.writeString(temporary.resolve(text.getKey()), text.getValue());
      }
      pages.forEach((name, page) -> page.write(temporary.resolve(name)));
      AtomicFiles.rename(temporary, target);
    } catch (IOException e) {
      throw new RunException(
          "--out %s: the folder cannot be written: %s".formatted(folder, e.getMessage()), e);
    } finally {
      AtomicFiles.deleteTree(temporary); // what a failure left; nothing after the rename
    }
  }
}
