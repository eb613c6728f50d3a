package filigree.test;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.Architectures;
import com.tngtech.archunit.library.dependencies.SlicesRuleDefinition;
import filigree.autograd.broken.BreaksEveryRule;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/**
 * Holds the arrows between the modules: interp, sparsity and checkpoints see transformer, which
 * sees autograd, which sees tensor, which alone sees ND4J; cli sees all.
 *
 * <p>Maven's module dependencies hold most of this already; they cannot hold that only tensor uses
 * ND4J, which is on everybody's class path, nor the absence of cycles inside a module.
 */
class ArchitectureTest {
  static final List<String> MODULES =
      List.of("tensor", "autograd", "transformer", "checkpoints", "sparsity", "interp", "cli");

  private static final ArchRule ARROWS =
      Architectures.layeredArchitecture()
          .consideringOnlyDependenciesInLayers()
          .layer("tensor")
          .definedBy("filigree.tensor..")
          .layer("autograd")
          .definedBy("filigree.autograd..")
          .layer("transformer")
          .definedBy("filigree.transformer..")
          .layer("checkpoints")
          .definedBy("filigree.checkpoints..")
          .layer("sparsity")
          .definedBy("filigree.sparsity..")
          .layer("interp")
          .definedBy("filigree.interp..")
          .layer("cli")
          .definedBy("filigree.cli..")
          .whereLayer("tensor")
          .mayNotAccessAnyLayer()
          .whereLayer("autograd")
          .mayOnlyAccessLayers("tensor")
          .whereLayer("transformer")
          .mayOnlyAccessLayers("autograd", "tensor")
          .whereLayer("checkpoints")
          .mayOnlyAccessLayers("transformer", "autograd", "tensor")
          .whereLayer("sparsity")
          .mayOnlyAccessLayers("transformer", "autograd", "tensor")
          .whereLayer("interp")
          .mayOnlyAccessLayers("transformer", "autograd", "tensor");

  private static final ArchRule ONLY_TENSOR_SEES_ND4J =
      noClasses()
          .that()
          .resideOutsideOfPackage("filigree.tensor..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("org.nd4j..", "org.bytedeco..");

  private static final ArchRule NO_CYCLES =
      SlicesRuleDefinition.slices().matching("filigree.(**)").should().beFreeOfCycles();

  /** ArchUnit's own option knows target/test-classes, but not target/quick/test-classes. */
  private static final ImportOption OUTSIDE_OF_TESTS =
      location -> !location.contains("/test-classes/");

  private static JavaClasses product;
  private static JavaClasses broken;

  @BeforeAll
  static void readClasses() {
    product = new ClassFileImporter().withImportOption(OUTSIDE_OF_TESTS).importPackages("filigree");
    broken = new ClassFileImporter().importPackages(BreaksEveryRule.class.getPackageName());
  }

  /** Otherwise a class path without a module would let every rule pass over it. */
  @ParameterizedTest
  @FieldSource("MODULES")
  void readsEveryModule(String module) {
    String root = "filigree." + module;
    assertThat(product)
        .as("classes of %s on the class path", root)
        .anyMatch(
            c -> c.getPackageName().equals(root) || c.getPackageName().startsWith(root + "."));
  }

  @Test
  void modulesFollowTheArrows() {
    ARROWS.check(product);
  }

  @Test
  void onlyTensorSeesNd4j() {
    ONLY_TENSOR_SEES_ND4J.check(product);
  }

  @Test
  void packagesHaveNoCycles() {
    NO_CYCLES.check(product);
  }

  @Test
  void rulesFindAClassThatBreaksThem() {
    JavaClasses all = new ClassFileImporter().importPackages("filigree");
    assertThat(ARROWS.evaluate(all).getFailureReport().getDetails())
        .as("arrows")
        .anyMatch(line -> line.contains("BreaksEveryRule") && line.contains("filigree.cli.Main"));
    assertThat(ONLY_TENSOR_SEES_ND4J.evaluate(broken).getFailureReport().getDetails())
        .as("ND4J outside of tensor")
        .anyMatch(line -> line.contains("org.nd4j.linalg.api.ndarray.INDArray"))
        .anyMatch(line -> line.contains("org.bytedeco.javacpp.Pointer"));
    assertThat(NO_CYCLES.evaluate(broken).hasViolation()).as("cycle of packages").isTrue();
  }
}
