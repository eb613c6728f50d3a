package filigree.sparsity;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What a run leaves behind: {@code run.json}, {@code metrics.jsonl}, the same numbers in {@code
 * events.out.tfevents.*} for TensorBoard, and the folder {@code model}. Each file is whole at any
 * moment: lines and records are appended and flushed one by one, everything else is written under a
 * temporary name and renamed.
 */
public final class RunFolder implements AutoCloseable {
  /** The folder of the best model so far, in Hugging Face's layout. */
  public static final String MODEL = "model";

  /** The file of the last state, from which a run resumes. */
  public static final String LAST = "last.safetensors";

  /** The file that says how a run was begun and, once it has ended, what came of it. */
  public static final String RUN = "run.json";

  private static final String METRICS = "metrics.jsonl";

  /** Numbers of a line that are no curves. */
  private static final Set<String> NOT_DRAWN = Set.of("step", "wall_ms");

  private static final ObjectMapper MAPPER = new ObjectMapper();

  private final Path folder;
  private final BufferedWriter metrics;
  private final EventFile events;

  private RunFolder(Path folder, BufferedWriter metrics, EventFile events) {
    this.folder = folder;
    this.metrics = metrics;
    this.events = events;
  }

  /** Opens both logs, or neither. */
  private static RunFolder opened(Path folder, BufferedWriter metrics, Logs logs)
      throws IOException {
    try {
      return new RunFolder(folder, metrics, logs.open());
    } catch (IOException e) {
      metrics.close();
      throw e;
    }
  }

  private interface Logs {
    EventFile open() throws IOException;
  }

  /**
   * Starts a run.
   *
   * @param folder must not exist, or be empty
   * @return the folder, open for metrics
   * @throws RunException where the folder holds something, which stays as it is
   */
  public static RunFolder create(Path folder) {
    requireVacant(folder);
    try {
      Files.createDirectories(folder);
      return opened(
          folder,
          open(folder.resolve(METRICS), StandardOpenOption.CREATE_NEW),
          () -> EventFile.create(folder, InstantSource.system()));
    } catch (IOException e) {
      throw unwritable(folder, e);
    }
  }

  /**
   * Goes on with a run that was interrupted.
   *
   * @param folder holds the run
   * @param step the last step that the resumed state has done; lines of later steps are dropped,
   *     since they will be written again
   * @return the folder, open for metrics
   */
  public static RunFolder resume(Path folder, long step) {
    Path file = folder.resolve(METRICS);
    try {
      List<String> kept = new ArrayList<>();
      for (String line : Files.readAllLines(file, StandardCharsets.UTF_8)) {
        // The last line of a killed run may be cut; it belongs to a later step.
        if (line.endsWith("}") && MAPPER.readTree(line).path("step").asLong() <= step) {
          kept.add(line);
        }
      }
      Path temporary = folder.resolve(METRICS + ".part");
      Files.write(temporary, kept, StandardCharsets.UTF_8);
      Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
      return opened(
          folder,
          open(file, StandardOpenOption.APPEND),
          () -> EventFile.resume(folder, step, InstantSource.system()));
    } catch (IOException e) {
      throw unwritable(file, e);
    }
  }

  /**
   * Tells whether a run has begun here, though perhaps not come far.
   *
   * @param folder need not exist
   * @return whether it has a log
   */
  public static boolean isBegun(Path folder) {
    return Files.exists(folder.resolve(METRICS));
  }

  /**
   * Checks that a run may be written here, before anything long is begun.
   *
   * @param folder the folder
   * @throws RunException where it is a file or holds something
   */
  public static void requireVacant(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    if (!Files.isDirectory(folder)) {
      throw new RunException("--out " + folder + ": this is a file; name a folder");
    }
    try (Stream<Path> inside = Files.list(folder)) {
      if (inside.findAny().isPresent()) {
        String what = Files.exists(folder.resolve(RUN)) ? "holds another run" : "is not empty";
        throw new RunException(
            "--out %s: the folder %s and is not overwritten; choose a new one"
                .formatted(folder, what));
      }
    } catch (IOException e) {
      throw unwritable(folder, e);
    }
  }

  /**
   * Returns the folder itself.
   *
   * @return its path
   */
  public Path path() {
    return folder;
  }

  /**
   * Returns the folder of the best model.
   *
   * @return its path, whether or not it exists yet
   */
  public Path model() {
    return folder.resolve(MODEL);
  }

  /**
   * Writes or replaces {@code run.json}.
   *
   * @param run arguments, versions, hashes and, at the end, results
   */
  public void describe(ObjectNode run) {
    writeJson(RUN, run);
  }

  /**
   * Writes or replaces a JSON file.
   *
   * @param name its name in this folder
   * @param json its contents
   */
  public void writeJson(String name, ObjectNode json) {
    Path file = folder.resolve(name);
    Path temporary = folder.resolve(name + ".part");
    try {
      Files.writeString(
          temporary, MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(json));
      Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw unwritable(file, e);
    }
  }

  /**
   * Appends a line to {@code metrics.jsonl}, and its numbers to TensorBoard's file: {@code ce} of
   * the phase {@code sparse} is {@code sparse/ce} there.
   *
   * @param line one step
   */
  public void append(ObjectNode line) {
    SequencedMap<String, Double> scalars = new LinkedHashMap<>();
    String phase = line.path("phase").asText("");
    line.properties()
        .forEach(
            entry -> {
              if (entry.getValue().isNumber() && !NOT_DRAWN.contains(entry.getKey())) {
                String tag = phase.isEmpty() ? entry.getKey() : phase + "/" + entry.getKey();
                scalars.put(tag, entry.getValue().doubleValue());
              }
            });
    try {
      events.append(line.path("step").asLong(), scalars);
      metrics.write(line.toString());
      metrics.newLine();
      metrics.flush();
    } catch (IOException e) {
      throw unwritable(folder.resolve(METRICS), e);
    }
  }

  @Override
  public void close() {
    try (EventFile _ = events) {
      metrics.close();
    } catch (IOException e) {
      throw unwritable(folder.resolve(METRICS), e);
    }
  }

  private static BufferedWriter open(Path file, StandardOpenOption option) throws IOException {
    return Files.newBufferedWriter(file, StandardCharsets.UTF_8, option, StandardOpenOption.WRITE);
  }

  private static RunException unwritable(Path path, IOException e) {
    return new RunException(
        "%s: cannot be written (%s: %s); check free space and permissions"
            .formatted(path, e.getClass().getSimpleName(), e.getMessage()),
        e);
  }
}
