import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * Checks or applies google-java-format to every Java file below a folder.
 *
 * <p>Arguments: {@code check|apply FOLDER REPORT}; a check leaves the names of unformatted files in
 * REPORT, which the build then refuses, or no such file. Run by the build under JDK 25; why not
 * Spotless is in docs/building.md.
 */
public final class Format {
  private Format() {}

  public static void main(String[] args) throws IOException {
    boolean apply = args[0].equals("apply");
    Path root = Path.of(args[1]);
    Path report = Path.of(args[2]);
    List<String> unformatted =
        javaFiles(root).parallelStream()
            .map(file -> format(file, apply) ? null : root.relativize(file).toString())
            .filter(Objects::nonNull)
            .sorted()
            .toList();
    if (apply) {
      Files.deleteIfExists(report);
      unformatted.forEach(file -> System.out.println("formatted " + file));
    } else if (unformatted.isEmpty()) {
      Files.deleteIfExists(report);
    } else {
      Files.write(report, unformatted);
      unformatted.forEach(file -> System.err.println("not formatted: " + file));
    }
  }

  private static List<Path> javaFiles(Path root) throws IOException {
    List<Path> files = new ArrayList<>();
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) {
            String name = folder.getFileName().toString();
            boolean foreign = name.equals("target") || name.equals(".git");
            return foreign && !folder.equals(root)
                ? FileVisitResult.SKIP_SUBTREE
                : FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
            if (file.toString().endsWith(".java")) {
              files.add(file);
            }
            return FileVisitResult.CONTINUE;
          }
        });
    return files;
  }

  /** Whether the file was formatted already. */
  private static boolean format(Path file, boolean apply) {
    try {
      String source = Files.readString(file);
      String formatted = new Formatter().formatSourceAndFixImports(source);
      if (formatted.equals(source)) {
        return true;
      }
      if (apply) {
        Files.writeString(file, formatted);
      }
      return false;
    } catch (FormatterException e) {
      throw new IllegalArgumentException(file + ": cannot be parsed: " + e.getMessage(), e);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
