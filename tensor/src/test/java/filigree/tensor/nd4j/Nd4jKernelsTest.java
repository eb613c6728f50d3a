package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.NoiseKey;
import filigree.tensor.Rotation;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.Function;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class Nd4jKernelsTest {
  private static final Gate SAMPLED = new Gate.Sampled(0.4, new NoiseKey(5, 1, 0));

  /** Every kernel once, on inputs that a float holds exactly; what it wrote. */
  private static Map<String, Function<Fixture, List<Tensor>>> calls() {
    Map<String, Function<Fixture, List<Tensor>>> calls = new TreeMap<>();
    calls.put("fill", f -> one(f.out(3), out -> f.kernels.fill(out, 0.1)));
    calls.put("cast", f -> one(f.out(3, 4), out -> f.kernels.cast(f.random(3, 4), out)));
    calls.put(
        "map", f -> one(f.out(3, 4), o -> f.kernels.map(Elementwise.GELU, f.random(3, 4), o)));
    calls.put(
        "mapBackward",
        f -> {
          Tensor x = f.random(3, 4);
          return one(
              f.out(3, 4),
              out ->
                  f.kernels.mapBackward(Elementwise.GELU_TANH, x, f.like(x), f.random(3, 4), out));
        });
    calls.put(
        "combine",
        f ->
            one(
                f.out(3, 4),
                out -> f.kernels.combine(Arithmetic.DIVIDE, f.random(3, 4), f.random(4), out)));
    calls.put(
        "accumulate", f -> one(f.random(3, 4), y -> f.kernels.accumulate(0.3, f.random(3, 4), y)));
    calls.put("scale", f -> one(f.out(3, 4), out -> f.kernels.scale(0.3, f.random(3, 4), out)));
    calls.put("clip", f -> one(f.out(3, 4), out -> f.kernels.clip(0.5, f.random(3, 4), out)));
    calls.put(
        "clipBackward",
        f ->
            one(
                f.out(3, 4),
                out -> f.kernels.clipBackward(0.5, f.random(3, 4), f.random(3, 4), out)));
    calls.put("sumTo", f -> one(f.out(4), out -> f.kernels.sumTo(f.random(3, 4), out)));
    calls.put(
        "sumOfSquares",
        f -> {
          double sum = f.kernels.sumOfSquares(f.random(3, 4));
          return List.of(f.of(new double[] {sum}, 1));
        });
    calls.put(
        "matmul",
        f ->
            one(
                f.random(2, 3, 5),
                out ->
                    f.kernels.matmul(
                        0.3,
                        f.random(2, 3, 4),
                        Transpose.NO,
                        f.random(2, 5, 4),
                        Transpose.YES,
                        0.7,
                        out)));
    calls.put(
        "affine",
        f ->
            one(
                f.out(3, 5),
                out ->
                    f.kernels.affine(
                        f.random(3, 4), f.random(5, 4), Transpose.YES, f.random(5), out)));
    calls.put(
        "affineBackward",
        f -> {
          List<Tensor> out = List.of(f.random(5, 4), f.out(5));
          f.kernels.affineBackward(f.random(3, 5), f.random(3, 4), 1, out.get(0), out.get(1));
          return out;
        });
    calls.put(
        "permute",
        f -> one(f.out(4, 3), out -> f.kernels.permute(f.random(3, 4), new int[] {1, 0}, out)));
    calls.put(
        "copyAlong",
        f -> one(f.random(3, 4), out -> f.kernels.copyAlong(f.random(3, 5), 1, out, 2, 1, 2)));
    calls.put("softmax", f -> one(f.out(3, 4), out -> f.kernels.softmax(f.random(3, 4), out)));
    calls.put(
        "softmaxBackward",
        f ->
            one(
                f.out(3, 4),
                out -> f.kernels.softmaxBackward(f.random(3, 4), f.random(3, 4), out)));
    calls.put("maskCausal", f -> one(f.random(4, 4), x -> f.kernels.maskCausal(x, 2, 0.1)));
    calls.put(
        "layerNorm",
        f -> {
          List<Tensor> out = List.of(f.out(3, 4), f.out(3), f.out(3));
          f.kernels.layerNorm(
              f.random(3, 4), f.random(4), f.random(4), 1e-5, out.get(0), out.get(1), out.get(2));
          return out;
        });
    calls.put(
        "layerNormBackward",
        f -> {
          List<Tensor> out = List.of(f.out(3, 4), f.out(4), f.out(4));
          f.kernels.layerNormBackward(
              f.random(3, 4),
              f.random(4),
              f.random(3),
              f.random(3),
              f.random(3, 4),
              out.get(0),
              out.get(1),
              out.get(2));
          return out;
        });
    calls.put(
        "rmsNorm",
        f -> {
          List<Tensor> out = List.of(f.out(3, 4), f.out(3));
          f.kernels.rmsNorm(f.random(3, 4), f.random(4), 1e-5, out.get(0), out.get(1));
          return out;
        });
    calls.put(
        "rmsNormBackward",
        f -> {
          List<Tensor> out = List.of(f.out(3, 4), f.out(4));
          f.kernels.rmsNormBackward(
              f.random(3, 4), f.random(4), f.random(3), f.random(3, 4), out.get(0), out.get(1));
          return out;
        });
    calls.put(
        "rotary",
        f ->
            one(
                f.out(2, 3, 2, 6),
                out ->
                    f.kernels.rotary(
                        f.random(2, 3, 2, 6),
                        f.random(5, 2),
                        f.random(5, 2),
                        1,
                        Rotation.INVERSE,
                        out)));
    calls.put(
        "gather", f -> one(f.out(3, 4), o -> f.kernels.gather(f.random(5, 4), f.ints(4, 0, 4), o)));
    calls.put(
        "scatterAdd",
        f -> one(f.random(5, 4), t -> f.kernels.scatterAdd(f.ints(4, 0, 4), f.random(3, 4), t)));
    calls.put(
        "crossEntropy",
        f -> {
          List<Tensor> out = List.of(f.out(3), f.out(3));
          f.kernels.crossEntropy(f.random(3, 4), f.ints(0, -1, 3), out.get(0), out.get(1));
          return out;
        });
    calls.put(
        "crossEntropyBackward",
        f ->
            one(
                f.out(3, 4),
                out ->
                    f.kernels.crossEntropyBackward(
                        f.random(3, 4), f.ints(0, -1, 3), f.random(3), f.random(3), out)));
    calls.put(
        "divergence",
        f -> one(f.out(3), out -> f.kernels.divergence(f.random(3, 4), f.random(3, 4), out)));
    calls.put(
        "divergenceBackward",
        f ->
            one(
                f.out(3, 4),
                out ->
                    f.kernels.divergenceBackward(
                        f.random(3, 4), f.random(3, 4), f.random(3), out)));
    calls.put(
        "gate", f -> one(f.out(1, 2, 3, 5), o -> f.kernels.gate(SAMPLED, f.random(1, 2, 3, 5), o)));
    calls.put(
        "gateBackward",
        f ->
            one(
                f.out(1, 2, 3, 5),
                out ->
                    f.kernels.gateBackward(
                        SAMPLED, f.random(1, 2, 3, 5), f.random(1, 2, 3, 5), out)));
    AttentionSpec spec = new AttentionSpec(4, 2, 3, 0.6, SAMPLED);
    calls.put(
        "attention",
        f -> {
          List<Tensor> out =
              List.of(f.out(2, 3, 4, 3), f.out(2, 4, 3), f.out(2, 4), f.out(DType.F64, 2, 4, 4));
          f.kernels.attention(
              spec,
              f.random(2, 3, 4, 3),
              f.random(2, 5, 2, 3),
              f.random(2, 5, 2, 3),
              out.get(0),
              out.get(1),
              out.get(2),
              out.get(3));
          return out;
        });
    calls.put(
        "attentionBackward",
        f -> {
          List<Tensor> out = List.of(f.out(2, 3, 4, 3), f.out(2, 5, 2, 3), f.out(2, 5, 2, 3));
          f.kernels.attentionBackward(
              spec,
              f.random(2, 3, 4, 3),
              f.random(2, 5, 2, 3),
              f.random(2, 5, 2, 3),
              f.random(2, 3, 4, 3),
              f.random(2, 4, 3),
              f.random(2, 3, 4, 3),
              f.random(2, 4),
              out.get(0),
              out.get(1),
              out.get(2));
          return out;
        });
    calls.put(
        "adamw",
        f -> {
          List<Tensor> out = List.of(f.random(7), f.random(7), f.spread(0, 7));
          f.kernels.adamw(
              new AdamWStep(2, 0.01, 0.9, 0.95, 1e-8, 0.1, 1),
              out.get(0),
              f.random(7),
              out.get(1),
              out.get(2));
          return out;
        });
    return calls;
  }

  private static List<Tensor> one(Tensor out, Consumer<Tensor> call) {
    call.accept(out);
    return List.of(out);
  }

  @Test
  void everyKernelIsCalledHere() {
    Set<String> declared = new TreeSet<>();
    Arrays.stream(Kernels.class.getDeclaredMethods()).forEach(m -> declared.add(m.getName()));
    declared.removeAll(Set.of("name", "description", "computes", "close"));
    assertThat(calls().keySet()).isEqualTo(declared);
  }

  @Test
  void float32IsFloat64RoundedOnce() {
    calls()
        .forEach(
            (name, call) -> {
              try (Fixture narrow = new Fixture(DType.F32);
                  Fixture wide = new Fixture(DType.F64)) {
                List<Tensor> found = call.apply(narrow);
                List<Tensor> exact = call.apply(wide);
                for (int i = 0; i < found.size(); i++) {
                  double[] expected = exact.get(i).toDoubles();
                  if (found.get(i).dtype() == DType.F32) {
                    Arrays.setAll(expected, j -> (float) expected[j]);
                  }
                  assertThat(expected).as(name).doesNotContain(Double.NaN);
                  assertThat(found.get(i).toDoubles()).as(name).isEqualTo(expected);
                }
              }
            });
  }

  @Test
  void runsRepeatBitForBit() {
    calls()
        .forEach(
            (name, call) -> {
              try (Fixture first = new Fixture(DType.F32);
                  Fixture second = new Fixture(DType.F32)) {
                List<Tensor> a = call.apply(first);
                List<Tensor> b = call.apply(second);
                for (int i = 0; i < a.size(); i++) {
                  assertThat(a.get(i).toDoubles()).as(name).isEqualTo(b.get(i).toDoubles());
                }
              }
            });
  }

  @Test
  void scratchMemoryDoesNotGrow() {
    try (Fixture f = new Fixture(DType.F32)) {
      Map<String, Function<Fixture, List<Tensor>>> calls = calls();
      long scratch = 0;
      int done = 0;
      for (int round = 0; done < 3000; round++) {
        for (Function<Fixture, List<Tensor>> call : calls.values()) {
          assertThat(call.apply(f)).isNotNull();
          done++;
        }
        f.memory.reset();
        if (round == 2) {
          scratch = f.kernels.scratchBytes();
        }
      }
      assertThat(f.kernels.scratchBytes()).isPositive().isEqualTo(scratch);
    }
  }

  /**
   * Large tensors, so that a leak stands out from Java's own heap, which comes and goes by some
   * tens of MiB: each call makes temporaries of 8 MiB, 300 of them 2.4 GiB.
   */
  @Test
  void residentMemoryStaysFlat() throws IOException {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor x = f.random(512, 512);
      Tensor y = f.like(x);
      long resident = 0;
      for (int call = 0; call < 320; call++) {
        if (call == 20) {
          resident = residentKib();
        }
        f.kernels.softmax(x, y);
      }
      assertThat(f.kernels.scratchBytes()).isGreaterThan(8L << 20);
      assertThat(residentKib() - resident).isLessThan(128 << 10);
    }
  }

  private static long residentKib() throws IOException {
    Path status = Path.of("/proc/self/status");
    Assumptions.assumeTrue(Files.exists(status), "resident memory is read from /proc");
    return Files.readAllLines(status).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void growsToTheLargestCallAndStays() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor small = f.random(10);
      Tensor large = f.random(100_000);
      for (int i = 0; i < 3; i++) {
        f.kernels.map(Elementwise.EXP, small, f.like(small));
      }
      f.kernels.map(Elementwise.EXP, large, f.like(large));
      f.kernels.map(Elementwise.EXP, large, f.like(large));
      long bytes = f.kernels.scratchBytes();
      assertThat(bytes).isBetween(800_000L, 8_000_000L);
      f.kernels.map(Elementwise.EXP, small, f.like(small));
      f.kernels.map(Elementwise.EXP, large, f.like(large));
      assertThat(f.kernels.scratchBytes()).isEqualTo(bytes);
    }
  }

  @Test
  void worksFromSeveralThreads() throws InterruptedException {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor x = f.random(20, 30);
      Tensor expected = f.like(x);
      f.kernels.softmax(x, expected);
      Tensor[] found = {f.like(x), f.like(x), f.like(x)};
      Thread[] threads = new Thread[found.length];
      for (int i = 0; i < threads.length; i++) {
        Tensor out = found[i];
        threads[i] =
            new Thread(
                () -> {
                  for (int n = 0; n < 50; n++) {
                    f.kernels.softmax(x, out);
                  }
                });
        threads[i].start();
      }
      for (Thread thread : threads) {
        thread.join();
      }
      for (Tensor out : found) {
        assertThat(out.toDoubles()).isEqualTo(expected.toDoubles());
      }
    }
  }

  @Test
  void saysWhatItIs() {
    Nd4jKernels kernels = new Nd4jKernels();
    assertThat(kernels.name()).isEqualTo("nd4j");
    assertThat(kernels.description())
        .matches("nd4j: ND4J 1\\.0\\.0-M2\\.1, \\w+Backend, BLAS \\w+, \\d+ threads, .*");
    for (DType type : DType.values()) {
      assertThat(kernels.computes(type)).isEqualTo(type == DType.F32 || type == DType.F64);
    }
    kernels.close();
    try (Fixture f = new Fixture(DType.F32)) {
      assertThatThrownBy(() -> kernels.scale(2, f.random(2), f.out(2)))
          .isInstanceOf(TensorException.class)
          .hasMessage("nd4j: these kernels were closed; make new ones");
    }
  }
}
