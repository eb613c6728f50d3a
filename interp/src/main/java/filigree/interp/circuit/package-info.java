/**
 * Circuits: which heads, MLPs and edges between them compute an answer. The methods score, the
 * {@link CircuitRunner} tests what they claim.
 */
package filigree.interp.circuit;
