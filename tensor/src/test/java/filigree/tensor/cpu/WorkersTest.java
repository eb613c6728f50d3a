package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.function.IntPredicate;
import org.junit.jupiter.api.Test;

class WorkersTest {
  @Test
  void runsEveryTaskOnce() {
    try (Workers workers = new Workers(3)) {
      for (int round = 0; round < 2000; round++) {
        AtomicIntegerArray runs = new AtomicIntegerArray(round % 17);
        workers.run(round % 17, (i, scratch) -> runs.incrementAndGet(i));
        for (int i = 0; i < runs.length(); i++) {
          assertThat(runs.get(i)).isEqualTo(1);
        }
      }
    }
  }

  @Test
  void eachThreadTakesItsOwnShareFirst() {
    // Each task waits for one of the other thread, so that neither runs out and takes others'.
    assertThat(tasksOfCaller(8, task -> true))
        .containsExactly(true, true, true, true, false, false, false, false);
  }

  @Test
  void aThreadThatIsDoneTakesTasksOfTheOthers() {
    // The worker's own tasks, 2 and 3, end together: one of them must be the caller's.
    boolean[] byCaller = tasksOfCaller(4, task -> task >= 2);
    assertThat(byCaller[2]).isNotEqualTo(byCaller[3]);
  }

  /** Which tasks the caller ran, of two threads; some tasks end only together with another. */
  private static boolean[] tasksOfCaller(int tasks, IntPredicate endsWithAnother) {
    try (Workers workers = new Workers(2)) {
      Thread caller = Thread.currentThread();
      CyclicBarrier both = new CyclicBarrier(2);
      boolean[] byCaller = new boolean[tasks];
      workers.run(
          tasks,
          (i, scratch) -> {
            byCaller[i] = Thread.currentThread() == caller;
            if (endsWithAnother.test(i)) {
              await(both);
            }
          });
      return byCaller;
    }
  }

  private static void await(CyclicBarrier barrier) {
    try {
      barrier.await(1, TimeUnit.MINUTES);
    } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void rangesCoverWithoutOverlap() {
    try (Workers workers = new Workers(3)) {
      for (int length : new int[] {0, 1, 5, 99, 100_000}) {
        AtomicIntegerArray seen = new AtomicIntegerArray(length);
        workers.ranges(
            length,
            7,
            (from, to) -> {
              for (long i = from; i < to; i++) {
                seen.incrementAndGet((int) i);
              }
            });
        for (int i = 0; i < length; i++) {
          assertThat(seen.get(i)).isEqualTo(1);
        }
      }
    }
  }

  @Test
  void throwsWhatATaskThrewAndWorksOn() {
    try (Workers workers = new Workers(2)) {
      for (int round = 0; round < 100; round++) {
        assertThatThrownBy(
                () ->
                    workers.run(
                        8,
                        (i, scratch) -> {
                          if (i == 5) {
                            throw new IllegalArgumentException("task 5");
                          }
                        }))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("task 5");
      }
      AtomicInteger sum = new AtomicInteger();
      workers.run(8, (i, scratch) -> sum.addAndGet(i));
      assertThat(sum.get()).isEqualTo(28);
    }
  }

  @Test
  void nestedJobsRunInsideTheirTask() {
    try (Workers workers = new Workers(3)) {
      AtomicInteger sum = new AtomicInteger();
      workers.run(6, (i, scratch) -> workers.run(5, (j, inner) -> sum.addAndGet(10 * i + j)));
      assertThat(sum.get()).isEqualTo(5 * 150 + 6 * 10);
    }
  }

  @Test
  void callersOfSeveralThreadsTakeTurns() throws InterruptedException {
    try (Workers workers = new Workers(2)) {
      AtomicInteger sum = new AtomicInteger();
      Thread[] callers = new Thread[4];
      for (int c = 0; c < callers.length; c++) {
        callers[c] =
            Thread.ofPlatform()
                .start(
                    () -> {
                      for (int round = 0; round < 200; round++) {
                        workers.run(4, (i, scratch) -> sum.incrementAndGet());
                      }
                    });
      }
      for (Thread caller : callers) {
        caller.join();
      }
      assertThat(sum.get()).isEqualTo(4 * 200 * 4);
    }
  }

  @Test
  void closedPoolRefusesWork() {
    Workers workers = new Workers(2);
    workers.close();
    assertThatThrownBy(() -> workers.run(1, (i, scratch) -> {}))
        .hasMessage("the cpu kernels were closed");
  }
}
