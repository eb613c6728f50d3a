package filigree.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class ConstraintTest {
  private static final Constraint.Config CONFIG =
      new Constraint.Config(0.01, 10, 0.04, 1, 0.1, 1e-3, 10);

  @Test
  void betaGrowsWhileTheConstraintHolds() {
    Constraint constraint = new Constraint(CONFIG);
    double before = constraint.beta();
    for (int i = 0; i < 5; i++) {
      constraint.observe(0);
      assertThat(constraint.beta()).isGreaterThan(before);
      before = constraint.beta();
    }
  }

  @Test
  void betaShrinksWhileItIsViolated() {
    Constraint constraint = new Constraint(CONFIG);
    double before = constraint.beta();
    for (int i = 0; i < 5; i++) {
      constraint.observe(0.02);
      assertThat(constraint.beta()).isLessThan(before);
      before = constraint.beta();
    }
  }

  @Test
  void firstMeasurementMovesBetaByRateAndGain() {
    Constraint constraint = new Constraint(CONFIG);
    constraint.observe(0.005); // half of the tolerance is left
    assertThat(constraint.beta()).isCloseTo(0.1 * Math.exp(0.5 * (0.04 + 1)), within(1e-12));
  }

  @Test
  void averageIsThePlainMeanUntilTheHorizonIsFull() {
    Constraint constraint = new Constraint(CONFIG);
    constraint.observe(0.01);
    constraint.observe(0.03);
    assertThat(constraint.average()).isCloseTo(0.02, within(1e-15));
    for (int i = 0; i < 8; i++) {
      constraint.observe(0.02);
    }
    constraint.observe(0.12);
    assertThat(constraint.average()).isCloseTo(0.03, within(1e-15));
  }

  @Test
  void betaStaysWithinItsBounds() {
    Constraint constraint = new Constraint(CONFIG);
    for (int i = 0; i < 1000; i++) {
      constraint.observe(-1);
    }
    assertThat(constraint.beta()).isEqualTo(10, within(1e-9));
    for (int i = 0; i < 1000; i++) {
      constraint.observe(1e9);
    }
    assertThat(constraint.beta()).isEqualTo(1e-3, within(1e-12));
  }

  @Test
  void aMeasurementThatIsNotANumberCountsAsViolatedAndLeavesTheAverage() {
    Constraint constraint = new Constraint(CONFIG);
    constraint.observe(0);
    double before = constraint.beta();
    constraint.observe(Double.NaN);
    assertThat(constraint.average()).isZero();
    assertThat(constraint.beta()).isLessThan(before);
  }

  /** A plant that answers with a delay: the excess follows the edges closed some steps ago. */
  @Test
  void settlesAtTheToleranceOnADelayedPlant() {
    Constraint constraint = new Constraint(CONFIG);
    double closed = 0;
    double lastBeta = 0;
    for (int probe = 0; probe < 3000; probe++) {
      closed += 0.02 * (0.02 * Math.log1p(constraint.beta() * 10) - closed);
      constraint.observe(closed);
      if (probe > 2500) {
        assertThat(closed).isEqualTo(0.01, within(5e-4));
        lastBeta = constraint.beta();
      }
    }
    assertThat(lastBeta).isEqualTo(0.0649, within(5e-3)); // 0.02 log(1 + 10 beta) = 0.01
  }

  @Test
  void goesOnFromASavedState() {
    Constraint undisturbed = new Constraint(CONFIG);
    undisturbed.observe(0.004);
    Constraint resumed = new Constraint(CONFIG, undisturbed.state());
    undisturbed.observe(0.007);
    resumed.observe(0.007);
    assertThat(resumed.state()).isEqualTo(undisturbed.state());
  }

  @Test
  void slackUnderATightToleranceIsMeasuredInFiveThousandthsOfANat() {
    Constraint constraint = new Constraint(new Constraint.Config(0, 10, 0.04, 1, 0.1, 1e-3, 10));
    constraint.observe(-0.001);
    assertThat(constraint.beta()).isCloseTo(0.1 * Math.exp(0.2 * (0.04 + 1)), within(1e-12));
  }

  @Test
  void aNegativeToleranceIsRefused() {
    assertThatThrownBy(() -> new Constraint.Config(-0.01, 10, 0.04, 1, 0.1, 1e-3, 10))
        .isInstanceOf(RunException.class)
        .hasMessageContaining("--tolerance is -0.01, expected 0 or more");
  }
}
