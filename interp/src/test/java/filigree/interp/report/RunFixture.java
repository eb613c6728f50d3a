package filigree.interp.report;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Writes small run folders for tests. */
final class RunFixture {
  /** Two layers of one head on three tokens; the sparse model keeps one edge per layer. */
  static final String ATTENTION =
      """
      {"models": ["dense", "sparse"],
       "prompts": [{"name": "1+2", "tokens": ["1", "+", "2"], "answer": "3", "attention": {
         "dense": [[[[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]], [[[1], [0.1, 0.9], [0, 0, 1]]]],
         "sparse": [[[[0], [0, 0], [0.75, 0, 0]]], [[[0], [0, 0], [0, 0, 1]]]],
         "gates": [[[[], [], [0]]], [[[], [], [2]]]]}}],
       "edges": {"dense": [[2], [2]], "sparse": [[0.333], [0.333]]},
       "summary": {"empty_rows": 0.667}}
      """;

  private final Path folder;

  private RunFixture(Path folder) {
    this.folder = folder;
  }

  /** A folder with a complete run.json and nothing else. */
  static RunFixture in(Path folder) {
    RunFixture fixture = new RunFixture(folder);
    return fixture.with(
        "run.json",
        """
        {"verb": "sparsify", "name": "a run", "seed": 7, "tau": 3.12,
         "arguments": {"lr": 0.0001, "out": "x"},
         "data": {"train": {"path": "train.jsonl", "sha256": "00ff"}},
         "result": {"base_ce": 3.11, "ce": 3.119, "density": 0.004, "edges_per_query": 2.05}}
        """);
  }

  RunFixture with(String file, String content) {
    try {
      Files.createDirectories(folder);
      Files.writeString(folder.resolve(file), content);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return this;
  }

  RunFixture withSteps(int steps) {
    return with(
        "metrics.jsonl",
        IntStream.range(0, steps)
            .mapToObj(step -> "{\"step\": " + step + ", \"ce\": " + (3.2 - step * 1e-3) + "}\n")
            .collect(Collectors.joining()));
  }

  Path folder() {
    return folder;
  }
}
