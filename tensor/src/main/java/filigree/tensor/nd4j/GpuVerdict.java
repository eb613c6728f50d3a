package filigree.tensor.nd4j;

import filigree.tensor.nd4j.CudaDriver.Answer;
import filigree.tensor.nd4j.CudaDriver.Gpu;
import java.util.Optional;

/**
 * Whether ND4J's GPU backend can run here, by what the driver said: a pure function, so that every
 * generation is tested on machines that have none.
 *
 * <p>nd4j-cuda-11.6 1.0.0-M2.1 carries machine code for compute capabilities 3.7 to 8.6 and no PTX,
 * from which a driver could make newer code. Machine code runs on its own major capability, from
 * its minor one on; so code for 8.6 also runs on 8.7 and 8.9, and nothing runs on 9.0 and later.
 */
final class GpuVerdict {
  private static final int NEWEST_MAJOR = 8;
  private static final int OLDEST_MAJOR = 3;
  private static final int OLDEST_MINOR = 7;

  /** CUDA 11.x runs on any driver for CUDA 11.0 and later ("minor version compatibility"). */
  private static final int OLDEST_DRIVER = 11_000;

  private static final int NO_DEVICE = 100; // CUDA_ERROR_NO_DEVICE

  private GpuVerdict() {}

  /**
   * Decides.
   *
   * @return why the backend cannot run and what to try instead; empty where it can
   */
  static Optional<String> refusal(Answer answer) {
    return switch (answer) {
      case Answer.NoDriver(String library) ->
          Optional.of(
              "there is no NVIDIA driver (%s was not found); install it".formatted(library));
      case Answer.Refused(String function, int error) when error == NO_DEVICE ->
          Optional.of(
              "the NVIDIA driver finds no GPU (%s: CUDA error %d); check nvidia-smi and"
                      .formatted(function, error)
                  + " CUDA_VISIBLE_DEVICES");
      case Answer.Refused(String function, int error) ->
          Optional.of(
              "the NVIDIA driver does not start (%s: CUDA error %d); check nvidia-smi"
                  .formatted(function, error));
      case Answer.Found found when found.gpus().isEmpty() ->
          Optional.of("the NVIDIA driver shows no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES");
      case Answer.Found found -> uncovered(found).or(() -> oldDriver(found));
    };
  }

  // All that are visible, because ND4J spreads its threads over them.
  private static Optional<String> uncovered(Answer.Found found) {
    for (int i = 0; i < found.gpus().size(); i++) {
      Gpu gpu = found.gpus().get(i);
      if (!covers(gpu)) {
        boolean alone = found.gpus().stream().noneMatch(GpuVerdict::covers);
        return Optional.of(
            "GPU %d, %s, has compute capability %s, for which nd4j-cuda-11.6 has no machine code (it"
                    .formatted(i, gpu.name(), gpu.capability())
                + " runs on 3.7 to 8.9); "
                + (alone ? "use another GPU" : "hide it by CUDA_VISIBLE_DEVICES"));
      }
    }
    return Optional.empty();
  }

  private static Optional<String> oldDriver(Answer.Found found) {
    return found.version() >= OLDEST_DRIVER
        ? Optional.empty()
        : Optional.of(
            "the NVIDIA driver supports CUDA %d.%d and nd4j-cuda-11.6 needs 11.0 or later; update"
                    .formatted(found.version() / 1000, found.version() % 1000 / 10)
                + " the driver");
  }

  /** Whether there is machine code for a GPU. */
  static boolean covers(Gpu gpu) {
    return gpu.major() == OLDEST_MAJOR
        ? gpu.minor() >= OLDEST_MINOR
        : gpu.major() > OLDEST_MAJOR && gpu.major() <= NEWEST_MAJOR;
  }
}
