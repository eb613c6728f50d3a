package filigree.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class WorkspaceTest {
  private static final long MIB = 1 << 20;

  private final Workspace memory = new Workspace("test");

  @AfterEach
  void close() {
    memory.close();
  }

  private Tensor bytes(long count) {
    return memory.allocate(Shape.of(count), DType.U8);
  }

  /** Tensors of random lengths, up to 40 alive at once; returns where each of them lay. */
  private List<Long> randomLife(long seed, int tensors, int longest) {
    Philox random = new Philox(seed, 0);
    List<Tensor> alive = new ArrayList<>();
    List<Long> places = new ArrayList<>();
    for (int i = 0; i < tensors; i++) {
      Tensor fresh = bytes(1 + random.nextInt(random.nextInt(4) == 0 ? longest : longest / 50));
      for (Tensor other : alive) {
        assertThat(
                fresh.address() + fresh.byteSize() <= other.address()
                    || other.address() + other.byteSize() <= fresh.address())
            .isTrue();
      }
      alive.add(fresh);
      places.add(fresh.address());
      while (alive.size() > 40 || (!alive.isEmpty() && random.nextInt(5) < 2)) {
        memory.release(alive.remove(random.nextInt(alive.size())));
      }
    }
    return places;
  }

  @Test
  void livingTensorsNeverOverlap() {
    assertThat(randomLife(1, 5000, 1 << 20)).hasSize(5000);
  }

  /** What makes a training step take nothing from the system after the first. */
  @Test
  void theSameStepLiesAtTheSamePlaces() {
    List<Long> first = randomLife(2, 500, 20 << 20);
    long reserved = memory.reservedBytes();
    for (int i = 0; i < 3; i++) {
      memory.reset();
      assertThat(randomLife(2, 500, 20 << 20)).isEqualTo(first);
      assertThat(memory.reservedBytes()).isEqualTo(reserved);
    }
  }

  /** As in an evaluation over documents of different lengths, with a reset between or without. */
  @Test
  void everNewLengthsReuseEachOthersPlaces() {
    Tensor stays = bytes(1000);
    for (int i = 1; i <= 3000; i++) {
      Tensor one = bytes(1000L * i);
      Tensor other = bytes(1001L * i);
      memory.release(one);
      memory.release(bytes(999L * i));
      memory.release(other);
    }
    assertThat(stays.byteSize()).isEqualTo(1000);
    assertThat(memory.peakBytes()).isGreaterThan(5 * MIB);
    assertThat(memory.reservedBytes()).isEqualTo(16 * MIB);
    memory.reset();
    for (int seed = 0; seed < 20; seed++) {
      randomLife(seed, 300, 20 << 20);
      memory.reset();
    }
    assertThat((double) memory.reservedBytes()).isLessThan(1.5 * memory.peakBytes());
  }

  @Test
  void theRestOfASlabIsNotGivenUp() {
    long at = bytes(9 * MIB).address();
    bytes(9 * MIB);
    assertThat(bytes(7 * MIB).address()).isEqualTo(at + 9 * MIB);
    assertThat(memory.reservedBytes()).isEqualTo(32 * MIB);
  }

  @Test
  void neighboursThatAreFreeBecomeOne() {
    List<Tensor> four = List.of(bytes(4 * MIB), bytes(4 * MIB), bytes(4 * MIB), bytes(4 * MIB));
    for (int i : new int[] {1, 3, 2, 0}) {
      memory.release(four.get(i));
    }
    assertThat(bytes(16 * MIB).address()).isEqualTo(four.getFirst().address());
    assertThat(memory.reservedBytes()).isEqualTo(16 * MIB);
  }

  @Test
  void aTensorReleasedTwiceIsAnError() {
    Tensor tensor = bytes(100);
    memory.release(tensor);
    assertThatThrownBy(() -> memory.release(tensor))
        .isInstanceOf(TensorException.class)
        .hasMessage(
            "test: a tensor of shape [100] was released that is not, or no longer, of this memory");
  }

  @Test
  void aTensorOfOtherMemoryIsNotReleased() {
    try (Workspace other = new Workspace("other")) {
      Tensor foreign = other.allocate(Shape.of(100), DType.F32);
      assertThatThrownBy(() -> memory.release(foreign)).hasMessageContaining("of this memory");
    }
  }
}
