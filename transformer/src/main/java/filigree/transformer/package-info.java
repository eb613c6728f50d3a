/** A decoder-only transformer, written once and configured for each model family. */
package filigree.transformer;
