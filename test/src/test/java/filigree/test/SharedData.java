package filigree.test;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** Real checkpoints and texts that lie beside a checkout; they are not part of the project. */
public final class SharedData {
  private SharedData() {}

  /**
   * Finds a file or folder, or skips the test and says why.
   *
   * @param name its path below the shared data
   * @return its path
   */
  public static Path require(String name) {
    Path path = Path.of(System.getProperty("filigree.data", "../../shared/data")).resolve(name);
    Assumptions.assumeTrue(
        Files.exists(path),
        () -> "there is no " + path + "; set -Dfiligree.data to the folder of the shared data");
    return path;
  }
}
