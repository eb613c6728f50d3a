package filigree.checkpoints;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Names, renames and removes so that a kill at any moment leaves something whole. */
public final class AtomicFiles {
  private static final AtomicLong COUNT = new AtomicLong();

  private AtomicFiles() {}

  /**
   * Names a file or folder that does not exist, beside the one that will be: a rename is atomic
   * only within one file system. Not {@link Files#createTempFile}, whose files nobody else may
   * read.
   *
   * @param path what will be
   * @return a name that is free
   */
  public static Path temporarySibling(Path path) {
    Path name = path.toAbsolutePath().getFileName();
    Path sibling;
    do {
      sibling =
          path.resolveSibling(
              ".%s.%d-%d.tmp"
                  .formatted(name, ProcessHandle.current().pid(), COUNT.incrementAndGet()));
    } while (Files.exists(sibling));
    return sibling;
  }

  /** Removes temporary siblings whose process is gone. */
  static void removeAbandoned(Path path) {
    Path parent = path.toAbsolutePath().getParent();
    if (parent == null || !Files.isDirectory(parent)) {
      return;
    }
    Pattern name =
        Pattern.compile(
            "\\.%s\\.(\\d{1,18})-\\d+\\.tmp"
                .formatted(Pattern.quote(path.getFileName().toString())));
    List<Path> abandoned = new ArrayList<>();
    try (Stream<Path> siblings = Files.list(parent)) {
      for (Path sibling : (Iterable<Path>) siblings::iterator) {
        Matcher matcher = name.matcher(sibling.getFileName().toString());
        if (matcher.matches() && ProcessHandle.of(Long.parseLong(matcher.group(1))).isEmpty()) {
          abandoned.add(sibling);
        }
      }
    } catch (IOException | UncheckedIOException e) {
      throw new CheckpointException(parent + ": cannot be listed: " + e.getMessage(), e);
    }
    abandoned.forEach(AtomicFiles::deleteTree);
  }

  /**
   * Renames at once and for good; an empty folder in the way is replaced, a full one is not.
   *
   * @param from a file or folder
   * @param to its new name, in the same file system
   * @throws CheckpointException where a folder in the way is not empty, or the system refuses
   */
  public static void rename(Path from, Path to) {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (DirectoryNotEmptyException e) {
      throw new CheckpointException(
          to + ": the folder is not empty and is not overwritten; choose another", e);
    } catch (IOException e) {
      throw new CheckpointException(
          "%s: renaming %s to it failed: %s".formatted(to, from, e.getMessage()), e);
    }
    forceFolder(to.toAbsolutePath().getParent());
  }

  /** Makes a file's bytes survive a power failure. */
  static void forceFile(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }

  /** Makes the names in a folder survive a power failure, where the system can open a folder. */
  static void forceFolder(Path folder) {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      // Windows cannot open a folder, some network file systems cannot force one: the rename has
      // been done all the same.
    }
  }

  /**
   * Removes a file or a folder with all in it; a symbolic link is removed, not followed.
   *
   * @param root what goes; it need not exist
   * @throws CheckpointException where something of it cannot be removed
   */
  public static void deleteTree(Path root) {
    if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    try {
      Files.walkFileTree(
          root,
          new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
                throws IOException {
              Files.delete(file);
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path folder, IOException failure)
                throws IOException {
              if (failure != null) {
                throw failure;
              }
              Files.delete(folder);
              return FileVisitResult.CONTINUE;
            }
          });
    } catch (IOException e) {
      throw new CheckpointException(
          root + ": could not be removed: " + e.getMessage() + "; remove it by hand", e);
    }
  }
}
