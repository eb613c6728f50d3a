/** Operations with their gradients, the pass that records them, and the optimiser. */
package filigree.autograd;
