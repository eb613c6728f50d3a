/** Reads and writes Hugging Face model folders: weights, configuration, tokenizer and names. */
package filigree.checkpoints;
