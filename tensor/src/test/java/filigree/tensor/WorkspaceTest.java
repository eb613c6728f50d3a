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

  /** As within a pass, where lists of one length each would only grow. */
  @Test
  void everNewLengthsReuseEachOthersPlaces() {
    Tensor stays = bytes(1000);
    for (int i = 1; i <= 1000; i++) {
      Tensor one = bytes(1000L * i);
      Tensor other = bytes(1001L * i);
      memory.release(one);
      memory.release(bytes(999L * i));
      memory.release(other);
    }
    assertThat(stays.byteSize()).isEqualTo(1000);
    assertThat(memory.reservedBytes()).isEqualTo(8 * MIB);
  }

  /** As in an evaluation of ever longer documents: no old slab holds the next long tensor. */
  @Test
  void everLongerRoundsReserveAtMostTwiceTheirPeak() {
    for (int i = 1; i <= 200; i++) {
      bytes(100_000L * i);
      Tensor one = bytes(101_000L * i);
      memory.release(one);
      bytes(102_000L * i);
      memory.reset();
      assertThat(memory.reservedBytes())
          .isLessThanOrEqualTo(Math.max(32 * MIB, 2 * memory.peakBytes()));
    }
    long reserved = memory.reservedBytes();
    for (int seed = 0; seed < 20; seed++) {
      randomLife(seed, 300, 20 << 20);
      memory.reset();
    }
    assertThat(memory.reservedBytes()).isGreaterThan(reserved);
    assertThat((double) memory.reservedBytes()).isLessThan(1.5 * memory.peakBytes());
  }

  @Test
  void theRestOfASlabIsNotGivenUp() {
    long first = bytes(1000).address();
    bytes(9 * MIB);
    assertThat(bytes(7 * MIB).address()).isEqualTo(first + 1024);
    assertThat(memory.reservedBytes()).isEqualTo(17 * MIB);
  }

  @Test
  void anEmptySlabMakesRoomBelowTheLimit() {
    try (Workspace limited = new Workspace("limited", 10 * MIB)) {
      limited.release(limited.allocate(Shape.of(6 * MIB), DType.U8));
      assertThat(limited.allocate(Shape.of(7 * MIB), DType.U8).byteSize()).isEqualTo(7 * MIB);
      assertThat(limited.reservedBytes()).isEqualTo(7 * MIB);
    }
  }

  @Test
  void moreThanTheSystemHasIsASentence() {
    assertThatThrownBy(() -> bytes(1L << 60))
        .isInstanceOf(TensorException.class)
        .hasMessage(
            "test: the system has no %d MiB more, and %d MiB are reserved; try a smaller batch, a shorter context, or end other programs"
                .formatted(1L << 40, 0));
    assertThat(memory.reservedBytes()).isZero();
    assertThat(bytes(MIB).byteSize()).isEqualTo(MIB);
  }

  @Test
  void neighboursThatAreFreeBecomeOne() {
    memory.release(bytes(8 * MIB));
    List<Tensor> four = List.of(bytes(2 * MIB), bytes(2 * MIB), bytes(2 * MIB), bytes(2 * MIB));
    for (int i : new int[] {1, 3, 2, 0}) {
      memory.release(four.get(i));
    }
    assertThat(bytes(8 * MIB).address()).isEqualTo(four.getFirst().address());
    assertThat(memory.reservedBytes()).isEqualTo(8 * MIB);
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
