/** Gated attention and the training loop that closes its edges while it holds the loss. */
package filigree.sparsity;
