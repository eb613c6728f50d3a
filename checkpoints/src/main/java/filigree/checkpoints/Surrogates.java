package filigree.checkpoints;

/** Finds what a Java string can hold and a text cannot. */
final class Surrogates {
  private Surrogates() {}

  /** Returns the position of the first half of a surrogate pair without its other half, or -1. */
  static int firstUnpaired(String text) {
    int position = 0;
    while (position < text.length()) {
      // A pair is read as one code point above U+FFFF, so a surrogate here stands alone.
      int codePoint = text.codePointAt(position);
      if (codePoint >= Character.MIN_SURROGATE && codePoint <= Character.MAX_SURROGATE) {
        return position;
      }
      position += Character.charCount(codePoint);
    }
    return -1;
  }
}
