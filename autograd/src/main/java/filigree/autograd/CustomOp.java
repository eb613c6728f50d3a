package filigree.autograd;

/**
 * The door for operations of other modules. Whoever implements it owes the same laws as {@link Op}:
 * a rule that agrees with central differences, checked with {@link GradCheck}.
 */
public non-sealed interface CustomOp extends Op {}
