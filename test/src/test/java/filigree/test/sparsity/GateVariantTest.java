package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import filigree.autograd.Gradients;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Batch;
import filigree.transformer.GateVariant;
import filigree.transformer.Gates;
import filigree.transformer.KeyValueCache;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Gates that differ from the paper's: they begin as it, learn, and decode as they read. */
class GateVariantTest {
  private static final Set<GateVariant> ALL = EnumSet.allOf(GateVariant.class);
  private static final int[] IDS = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
  private static final double BIAS = -0.05;

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  /** Grouped heads, rotation and norms of queries and keys: everything that gates pass through. */
  private static ModelConfig config() {
    return new ModelConfig(
        new ModelConfig.Sizes(11, 16, 2, 24),
        ModelConfig.Residual.PRE_NORM,
        new ModelConfig.Norm(ModelConfig.NormKind.RMS, 1e-5),
        new ModelConfig.Positions.Rotary(10_000),
        new ModelConfig.Attention(
            4,
            2,
            6,
            ModelConfig.Bias.PRESENT,
            ModelConfig.Bias.ABSENT,
            ModelConfig.QkNorm.PER_HEAD,
            OptionalDouble.empty(),
            OptionalInt.empty()),
        new ModelConfig.Mlp(
            ModelConfig.MlpKind.GATED, 32, Elementwise.SILU, ModelConfig.Bias.ABSENT),
        ModelConfig.Head.TIED);
  }

  private static Transformer model(Set<GateVariant> variants, Workspace memory) {
    Parameters.Draw draw = new Parameters.Draw(0.3, 4);
    Parameters plain = Parameters.random(config(), DType.F32, memory, draw);
    ModelConfig config = config().withGating(variants);
    return new Transformer(config, plain.withGating(config, memory), memory);
  }

  private static double[] logits(Transformer model, Gates gates) {
    try (Workspace scratch = new Workspace("scratch");
        Pass pass = Pass.inference(kernels, scratch)) {
      Tensor ids = Tensor.ofInts(scratch, Shape.of(1, IDS.length), IDS);
      return model.forward(pass, ids, gates).logits().value().toDoubles();
    }
  }

  private static double distance(double[] a, double[] b) {
    return IntStream.range(0, a.length).mapToDouble(i -> Math.abs(a[i] - b[i])).max().orElseThrow();
  }

  @Test
  void gatesWithWeightsOfTheirOwnBeginAsPlainOnes() {
    try (Workspace memory = new Workspace("weights")) {
      double[] plain = logits(model(Set.of(), memory), new Gates.Hard(BIAS));
      for (GateVariant variant : List.of(GateVariant.HEAD_BIAS, GateVariant.OWN_PROJECTION)) {
        assertThat(distance(logits(model(Set.of(variant), memory), new Gates.Hard(BIAS)), plain))
            .as("%s", variant)
            .isLessThan(1e-5);
      }
      double[] renormalised =
          logits(model(Set.of(GateVariant.RENORMALISED), memory), new Gates.Hard(BIAS));
      assertThat(distance(renormalised, plain)).isGreaterThan(1e-3);
    }
  }

  @Test
  void openGatesAreOrdinaryAttention() {
    try (Workspace memory = new Workspace("weights")) {
      double[] dense = logits(model(Set.of(), memory), Gates.dense());
      Transformer all = model(ALL, memory);
      assertThat(logits(all, Gates.dense())).isEqualTo(dense);
      assertThat(distance(logits(all, new Gates.Hard(1e4)), dense)).isLessThan(1e-5);
    }
  }

  @Test
  void renormalisedWeightsSumToOneOrNothing() {
    try (Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("scratch")) {
      // With every value vector the same, an attention output is that vector where the weights sum
      // to 1. The value map gives its bias alone where its weight is 0.
      Transformer model = model(Set.of(GateVariant.RENORMALISED), memory);
      for (Param param : model.parameters().all()) {
        if (param.name().contains(".attn.v.")) {
          kernels.fill(param.value(), param.name().endsWith("bias") ? 1 : 0);
        }
      }
      List<double[]> seen = new ArrayList<>();
      try (Pass pass =
          Pass.inference(kernels, scratch)
              .with(
                  new Tap() {
                    @Override
                    public boolean wants(Site site) {
                      return site.toString().endsWith("hook_z");
                    }

                    @Override
                    public Var see(Pass in, Site site, Var value) {
                      seen.add(value.value().toDoubles());
                      return value;
                    }
                  })) {
        Tensor ids = Tensor.ofInts(scratch, Shape.of(1, IDS.length), IDS);
        model.forward(pass, ids, new Gates.Hard(BIAS));
      }
      double[] z = seen.stream().flatMapToDouble(Arrays::stream).toArray();
      for (double x : z) {
        assertThat(Math.min(Math.abs(x), Math.abs(x - 1))).isLessThan(1e-5);
      }
      assertThat(Arrays.stream(z).filter(x -> x == 0)).isNotEmpty();
      assertThat(Arrays.stream(z).filter(x -> x > 0.5)).isNotEmpty();
    }
  }

  @Test
  void everyWeightOfAGateHasAGradientThatLowersTheLoss() {
    try (Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("scratch")) {
      Transformer model = model(ALL, memory);
      // Soft gates, since the gradient of others is not the derivative of anything measured.
      Gates soft = new Gates.Soft(BIAS);
      for (String name :
          List.of(
              "blocks.0.attn.gate.bias",
              "blocks.1.attn.gate_q.weight",
              "blocks.1.attn.gate_k.bias",
              "blocks.0.attn.q.weight")) {
        Param param = model.parameters().get(name);
        Shape shape = param.value().shape();
        double[] before = param.value().toDoubles();
        double[] gradient;
        try (Pass pass = Pass.recording(kernels, scratch)) {
          Gradients gradients = pass.backward(loss(model, pass, soft, scratch));
          gradient = gradients.of(param).orElseThrow().toDoubles();
        }
        double norm = Math.sqrt(Arrays.stream(gradient).map(g -> g * g).sum());
        assertThat(norm).as(name).isGreaterThan(1e-6);
        double[] losses = new double[2];
        double step = 2e-3;
        for (int side = 0; side < 2; side++) {
          double[] moved = before.clone();
          for (int i = 0; i < moved.length; i++) {
            moved[i] += (side == 0 ? -step : step) * gradient[i] / norm;
          }
          kernels.cast(Tensor.of(memory, DType.F32, shape, moved), param.value());
          try (Pass pass = Pass.inference(kernels, scratch)) {
            losses[side] = loss(model, pass, soft, scratch).value().item();
          }
        }
        kernels.cast(Tensor.of(memory, DType.F32, shape, before), param.value());
        assertThat((losses[1] - losses[0]) / (2 * step))
            .as(name)
            .isCloseTo(norm, within(0.02 * norm + 2e-4));
      }
    }
  }

  private static Var loss(Transformer model, Pass pass, Gates gates, Workspace memory) {
    Batch batch = Batch.nextToken(List.of(IDS), memory);
    return Transformer.loss(pass, model.forward(pass, batch.ids(), gates).logits(), batch);
  }

  @Test
  void decodingWithACacheIsReadingAtOnce() {
    try (Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("scratch")) {
      Transformer model = model(ALL, memory);
      Gates gates = new Gates.Hard(BIAS);
      double[] whole = logits(model, gates);
      KeyValueCache cache = new KeyValueCache(model.config(), DType.F32, IDS.length, memory);
      double[] last = new double[0];
      for (int id : IDS) {
        try (Pass pass = Pass.inference(kernels, scratch)) {
          Tensor ids = Tensor.ofInts(scratch, Shape.of(1, 1), id);
          last = model.next(pass, ids, gates, cache).logits().value().toDoubles();
        }
      }
      double[] expected = Arrays.copyOfRange(whole, whole.length - last.length, whole.length);
      assertThat(distance(last, expected)).isLessThan(1e-4);
    }
  }
}
