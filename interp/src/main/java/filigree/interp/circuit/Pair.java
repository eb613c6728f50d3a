package filigree.interp.circuit;

/** The clean and the corrupted run of one batch. */
record Pair(PromptBatch batch, Recorded clean, Recorded corrupted) {
  /** The run that is patched. */
  Recorded base(Direction direction) {
    return switch (direction) {
      case CORRUPT -> clean;
      case RESTORE -> corrupted;
    };
  }

  /** The run whose values are put into the other. */
  Recorded source(Direction direction) {
    return switch (direction) {
      case CORRUPT -> corrupted;
      case RESTORE -> clean;
    };
  }
}
