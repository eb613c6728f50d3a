package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class NumbersTest {
  @Test
  void lossesShowTheDigitsInWhichRunsDiffer() {
    assertThat(Numbers.nats(3.12)).isEqualTo("3.1200");
    assertThat(Numbers.nats(0.008714)).isEqualTo("0.00871");
    assertThat(Numbers.nats(0)).isEqualTo("0.0000");
  }

  @Test
  void nearlyAllIsNotRoundedToAll() {
    assertThat(Numbers.percent(0.9998)).isEqualTo("99.98 %");
    assertThat(Numbers.percent(0.00412)).isEqualTo("0.412 %");
    assertThat(Numbers.percent(1)).isEqualTo("100 %");
  }

  @Test
  void numbersOfFilesKeepTheirDigits() {
    assertThat(Numbers.exact(3e-4)).isEqualTo("0.0003");
    assertThat(Numbers.exact(1e-12)).isEqualTo("1.0E-12");
  }

  @Test
  void wholeNumbersHaveSeparators() {
    assertThat(Numbers.plain(20_000)).isEqualTo("20,000");
    assertThat(Numbers.plain(2.0512345)).isEqualTo("2.05123");
    assertThat(Numbers.count(1, "step", "steps")).isEqualTo("1 step");
  }
}
