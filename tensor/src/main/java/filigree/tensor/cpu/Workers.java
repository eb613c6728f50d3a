package filigree.tensor.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A fixed pool: the calling thread and {@code threads - 1} daemons work through the numbered tasks
 * of one job at a time, each its own share first. Who runs a task is left to chance in the end,
 * what a task computes is not: tasks are cut by shape alone and own what they write, so results do
 * not depend on scheduling.
 *
 * <p>A caller of another thread waits its turn; a job started inside a task runs in that task.
 */
final class Workers implements AutoCloseable {
  /** A part of a job. */
  @FunctionalInterface
  interface Task {
    /**
     * Runs one task.
     *
     * @param index from 0 to the number of tasks - 1
     * @param scratch memory of the thread that runs it
     */
    void run(int index, Scratch scratch);
  }

  /** A range of a job. */
  @FunctionalInterface
  interface Range {
    /**
     * Works on the indices from {@code from} to {@code to - 1}.
     *
     * @param from first index
     * @param to one past the last
     */
    void run(long from, long to);
  }

  // Waking a parked thread costs 5 to 50 us, and kernels follow each other within tens of us. A
  // step
  // of the small shape takes 118 ms with a spin of 20 us, 112 with 100, 115 with 500; longer spins
  // take time from other processes.
  private static final long SPIN_NANOS = 100_000;

  private final Thread[] threads;
  private final Scratch[] scratches;
  private final ReentrantLock lock = new ReentrantLock();
  private volatile Job job;
  private volatile boolean closed;

  Workers(int count) {
    scratches = new Scratch[count];
    for (int i = 0; i < count; i++) {
      scratches[i] = new Scratch();
    }
    threads = new Thread[count - 1];
    for (int i = 0; i < threads.length; i++) {
      int self = i + 1;
      Scratch scratch = scratches[self];
      threads[i] =
          Thread.ofPlatform()
              .daemon()
              .name("filigree-cpu-" + self)
              .unstarted(() -> serve(self, scratch));
      threads[i].start();
    }
  }

  /** Returns the number of threads that work, the caller included. */
  int count() {
    return scratches.length;
  }

  /**
   * Runs tasks and returns when all are done. The first exception of a task is thrown here, and
   * tasks not yet begun are then left out.
   */
  void run(int tasks, Task body) {
    if (tasks <= 0) {
      return;
    }
    if (lock.isHeldByCurrentThread() || isWorker(Thread.currentThread())) {
      try (Scratch own = new Scratch()) {
        for (int i = 0; i < tasks; i++) {
          body.run(i, own);
        }
      }
      return;
    }
    lock.lock();
    try {
      if (closed) {
        throw new IllegalStateException("the cpu kernels were closed");
      }
      if (tasks == 1 || threads.length == 0) {
        for (int i = 0; i < tasks; i++) {
          body.run(i, scratches[0]);
        }
        return;
      }
      Job current = new Job(tasks, count(), body, Thread.currentThread());
      job = current;
      for (int i = 0; i < Math.min(threads.length, tasks - 1); i++) {
        LockSupport.unpark(threads[i]);
      }
      current.work(0, scratches[0]);
      current.await();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Cuts {@code [0, length)} into ranges of at least {@code grain} indices and runs them.
   *
   * @param length how many indices
   * @param grain the fewest indices worth a task of their own, about 10 us of work
   * @param body what to do with a range
   */
  void ranges(long length, long grain, Range body) {
    if (length <= 0) {
      return;
    }
    int tasks = parts(length, grain);
    if (tasks == 1 && threads.length == 0) {
      body.run(0, length);
      return;
    }
    run(tasks, (i, scratch) -> body.run(length * i / tasks, length * (i + 1) / tasks));
  }

  // Four ranges a thread even out what other processes take away.
  private int parts(long length, long grain) {
    if (threads.length == 0) {
      return 1;
    }
    long most = Math.max(1, length / Math.max(1, grain));
    return (int) Math.min(most, 4L * count());
  }

  private boolean isWorker(Thread thread) {
    for (Thread other : threads) {
      if (other == thread) {
        return true;
      }
    }
    return false;
  }

  private void serve(int self, Scratch scratch) {
    Job seen = null;
    while (!closed) {
      Job current = job;
      if (current == seen) {
        current = awaitOther(seen);
      }
      seen = current;
      if (current != null) {
        current.work(self, scratch);
      }
    }
  }

  private Job awaitOther(Job seen) {
    long end = System.nanoTime() + SPIN_NANOS;
    while (job == seen && !closed) {
      if (System.nanoTime() < end) {
        Thread.onSpinWait();
      } else {
        LockSupport.park(this);
      }
    }
    return job;
  }

  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      for (Thread thread : threads) {
        LockSupport.unpark(thread);
      }
      boolean interrupted = false;
      for (Thread thread : threads) {
        while (thread.isAlive()) {
          try {
            thread.join();
          } catch (InterruptedException e) {
            interrupted = true;
          }
        }
      }
      for (Scratch scratch : scratches) {
        scratch.close();
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    } finally {
      lock.unlock();
    }
  }

  /**
   * One call. Tasks are claimed from a counter for each thread, its own first: kernels cut rows
   * into tasks in their order, so that a thread finds in its cache what it wrote in the kernel
   * before. Then a thread takes from the others. One that comes late finds none left.
   */
  private static final class Job {
    // Counters a cache line apart.
    private static final int APART = 16;

    private final int tasks;
    private final int threads;
    private final Task body;
    private final Thread caller;
    private final AtomicIntegerArray claimed;
    private final AtomicInteger done = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    Job(int tasks, int threads, Task body, Thread caller) {
      this.tasks = tasks;
      this.threads = threads;
      this.body = body;
      this.caller = caller;
      this.claimed = new AtomicIntegerArray(threads * APART);
    }

    void work(int self, Scratch scratch) {
      for (int i = 0; i < threads; i++) {
        int owner = (self + i) % threads;
        int from = first(owner);
        int to = first(owner + 1);
        int task = from + claimed.getAndIncrement(owner * APART);
        while (task < to) {
          run(task, scratch);
          task = from + claimed.getAndIncrement(owner * APART);
        }
      }
    }

    private int first(int owner) {
      return (int) ((long) tasks * owner / threads);
    }

    private void run(int task, Scratch scratch) {
      try {
        if (failure.get() == null) {
          body.run(task, scratch);
        }
      } catch (Throwable e) {
        failure.compareAndSet(null, e);
      }
      if (done.incrementAndGet() == tasks) {
        LockSupport.unpark(caller);
      }
    }

    void await() {
      long end = System.nanoTime() + SPIN_NANOS;
      while (done.get() < tasks) {
        if (System.nanoTime() < end) {
          Thread.onSpinWait();
        } else {
          LockSupport.park(this);
        }
      }
      switch (failure.get()) {
        case null -> {}
        case RuntimeException e -> throw e;
        case Error e -> throw e;
        case Throwable e -> throw new IllegalStateException(e);
      }
    }
  }
}
