/** The {@code filigree} command: verbs, their options, and what they print. */
package filigree.cli;
