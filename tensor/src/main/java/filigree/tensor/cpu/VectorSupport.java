package filigree.tensor.cpu;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.lang.module.ModuleFinder;
import java.util.Optional;

/**
 * What the Vector API needs of the JVM to be faster than plain loops. It computes the same numbers
 * everywhere, but where the compiler has no instruction for an operation, each vector is an object
 * and each fused multiply-add a calculation in BigDecimal: 60 training steps of a tiny model took
 * 37 s instead of 2.6 s with {@code -XX:TieredStopAtLevel=1}, 20 steps 43 s instead of 3 s with
 * {@code -XX:UseAVX=0}.
 *
 * @param module whether the incubator module is there
 * @param fusedMultiplyAdd whether the processor has the instruction and the JVM uses it
 * @param optimisingCompiler whether hot code reaches the compiler that knows vectors (C2)
 */
record VectorSupport(Module module, boolean fusedMultiplyAdd, boolean optimisingCompiler) {
  static final String MODULE_NAME = "jdk.incubator.vector";

  /** Where the incubator module is. */
  enum Module {
    /** The JVM was started with it. */
    RESOLVED,
    /** The Java runtime has it, the command line did not ask for it. */
    NOT_ASKED_FOR,
    /** The Java runtime was made without it. */
    NOT_INSTALLED
  }

  /** Asks the running JVM. */
  static VectorSupport ofThisJvm() {
    Module module =
        ModuleLayer.boot().findModule(MODULE_NAME).isPresent()
            ? Module.RESOLVED
            : ModuleFinder.ofSystem().find(MODULE_NAME).isPresent()
                ? Module.NOT_ASKED_FOR
                : Module.NOT_INSTALLED;
    return new VectorSupport(
        module,
        !flag("UseFMA").equals("false"),
        isOptimising(System.getProperty("java.vm.info", "")));
  }

  /** {@code java.vm.info} says "emulated-client" where only the quick compiler (C1) runs. */
  static boolean isOptimising(String vmInfo) {
    return !vmInfo.contains("interpreted mode") && !vmInfo.contains("emulated-client");
  }

  /** A flag of HotSpot; empty in another JVM, which then is believed to be capable. */
  private static String flag(String name) {
    try {
      return ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
          .getVMOption(name)
          .getValue();
    } catch (LinkageError | RuntimeException e) {
      return ""; // a runtime without jdk.management, or a JVM without this flag
    }
  }

  /** Why plain loops are the better choice here and what would change that; empty where not. */
  Optional<String> obstacle() {
    return switch (module) {
      case NOT_ASKED_FOR ->
          Optional.of(
              "the module %s is absent: start with --add-modules %s"
                  .formatted(MODULE_NAME, MODULE_NAME));
      case NOT_INSTALLED ->
          Optional.of(
              "this Java runtime was made without the module %s: use a whole JDK"
                  .formatted(MODULE_NAME));
      case RESOLVED -> {
        if (!optimisingCompiler) {
          yield Optional.of(
              "the JVM runs without its optimising compiler: start it without -Xint and without"
                  + " -XX:TieredStopAtLevel");
        }
        if (!fusedMultiplyAdd) {
          yield Optional.of(
              "the JVM has no fused multiply-add: vectors need a processor with FMA (2013 and"
                  + " later), and no -XX:UseAVX=0 or -XX:-UseFMA");
        }
        yield Optional.empty();
      }
    };
  }
}
