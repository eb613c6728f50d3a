/** What the two tokens of an attention edge are to each other, counted over prompts. */
package filigree.interp.relation;
