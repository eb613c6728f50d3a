package filigree.interp.circuit;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.interp.task.Contrast;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/** How well a prompt is answered, by the logits at its position. */
public enum Metric {
  /** Mean logit of the correct answers less that of the incorrect ones. */
  LOGIT_DIFFERENCE("logit-diff", Better.HIGHER) {
    @Override
    double value(double[] logits, double[] clean, Contrast contrast) {
      return mean(logits, contrast.correct()) - mean(logits, contrast.incorrect());
    }

    @Override
    Var sum(Pass pass, Var logits, Tensor clean, List<Contrast> contrasts) {
      Tensor weights =
          weights(
              pass,
              logits,
              contrasts,
              contrast -> 1.0 / contrast.correct().length,
              contrast -> -1.0 / contrast.incorrect().length);
      return weighted(pass, logits, weights);
    }
  },
  /** Probability of the correct answers together less that of the incorrect ones. */
  PROBABILITY_DIFFERENCE("prob-diff", Better.HIGHER) {
    @Override
    double value(double[] logits, double[] clean, Contrast contrast) {
      double sum = logSumExp(logits);
      double out = 0;
      for (int answer : contrast.correct()) {
        out += Math.exp(logits[answer] - sum);
      }
      for (int answer : contrast.incorrect()) {
        out -= Math.exp(logits[answer] - sum);
      }
      return out;
    }

    @Override
    Var sum(Pass pass, Var logits, Tensor clean, List<Contrast> contrasts) {
      Tensor weights = weights(pass, logits, contrasts, contrast -> 1, contrast -> -1);
      return weighted(pass, pass.apply(new Op.Softmax(), logits), weights);
    }
  },
  /** Divergence in nats of the run from the clean one, KL(clean || run). */
  DIVERGENCE("kl", Better.LOWER) {
    @Override
    double value(double[] logits, double[] clean, Contrast contrast) {
      double sum = logSumExp(logits);
      double cleanSum = logSumExp(clean);
      double out = 0;
      for (int i = 0; i < logits.length; i++) {
        double logProbability = clean[i] - cleanSum;
        out += Math.exp(logProbability) * (logProbability - (logits[i] - sum));
      }
      return out;
    }

    @Override
    Var sum(Pass pass, Var logits, Tensor clean, List<Contrast> contrasts) {
      Var each = pass.apply(new Op.Divergence(), logits, pass.constant(clean));
      return pass.apply(new Op.Sum(Shape.of()), each);
    }
  },
  /** 1 where the best correct answer has a higher logit than the best incorrect one, else 0. */
  ACCURACY("accuracy", Better.HIGHER) {
    @Override
    double value(double[] logits, double[] clean, Contrast contrast) {
      return best(logits, contrast.correct()) > best(logits, contrast.incorrect()) ? 1 : 0;
    }

    @Override
    Var sum(Pass pass, Var logits, Tensor clean, List<Contrast> contrasts) {
      throw new CircuitException(
          "accuracy has no gradient, so nothing can be attributed to it; use logit-diff or a method"
              + " that patches");
    }
  };

  /** Which way a metric gets better. */
  public enum Better {
    /** More is better. */
    HIGHER,
    /** Less is better. */
    LOWER
  }

  /** A number for a prompt. */
  private interface Weight {
    double of(Contrast contrast);
  }

  private final String label;
  private final Better better;

  Metric(String label, Better better) {
    this.label = label;
    this.better = better;
  }

  /**
   * Finds a metric.
   *
   * @param label such as {@code logit-diff}
   * @return the metric
   * @throws CircuitException where there is none; names all
   */
  public static Metric parse(String label) {
    for (Metric metric : values()) {
      if (metric.label.equals(label)) {
        return metric;
      }
    }
    throw new CircuitException(
        "there is no metric '%s'; there are %s"
            .formatted(
                label, String.join(", ", Arrays.stream(values()).map(Metric::label).toList())));
  }

  /**
   * Returns the name.
   *
   * @return such as {@code logit-diff}
   */
  public String label() {
    return label;
  }

  /**
   * Tells which way it gets better.
   *
   * @return the direction
   */
  public Better better() {
    return better;
  }

  /**
   * How much worse a value is than another.
   *
   * @param from the value before
   * @param to the value after
   * @return above 0 where it is worse
   */
  public double damage(double from, double to) {
    return switch (better) {
      case HIGHER -> from - to;
      case LOWER -> to - from;
    };
  }

  /**
   * Measures one prompt.
   *
   * @param logits [vocabulary] of the run that is measured
   * @param clean [vocabulary] of the clean run
   * @param contrast the prompt
   * @return the metric
   */
  abstract double value(double[] logits, double[] clean, Contrast contrast);

  /**
   * The metric of all prompts together, differentiable.
   *
   * @param logits [batch, vocabulary] at the prompts' positions
   * @param clean [batch, vocabulary] of the clean run
   * @param contrasts as many
   * @return a scalar
   */
  abstract Var sum(Pass pass, Var logits, Tensor clean, List<Contrast> contrasts);

  private static double mean(double[] logits, int[] answers) {
    return Arrays.stream(answers).mapToDouble(answer -> logits[answer]).average().orElseThrow();
  }

  private static double best(double[] logits, int[] answers) {
    return Arrays.stream(answers).mapToDouble(answer -> logits[answer]).max().orElseThrow();
  }

  private static double logSumExp(double[] logits) {
    double largest = Arrays.stream(logits).max().orElseThrow();
    double sum = 0;
    for (double logit : logits) {
      sum += Math.exp(logit - largest);
    }
    return largest + Math.log(sum);
  }

  private static Tensor weights(
      Pass pass, Var logits, List<Contrast> contrasts, Weight correct, Weight incorrect) {
    int vocabulary = logits.shape().length(-1);
    double[] out = new double[Math.toIntExact(logits.shape().size())];
    for (int row = 0; row < contrasts.size(); row++) {
      Contrast contrast = contrasts.get(row);
      for (int answer : contrast.correct()) {
        out[row * vocabulary + answer] += correct.of(contrast);
      }
      for (int answer : contrast.incorrect()) {
        out[row * vocabulary + answer] += incorrect.of(contrast);
      }
    }
    DType type = logits.value().dtype();
    return Tensor.of(pass.scope().memory(), type, logits.shape(), out);
  }

  private static Var weighted(Pass pass, Var values, Tensor weights) {
    Var products = pass.apply(new Op.Combine(Arithmetic.MULTIPLY), values, pass.constant(weights));
    return pass.apply(new Op.Sum(Shape.of()), products);
  }
}
