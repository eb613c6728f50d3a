/** Arrays, their memory and the kernels that compute on them; the only code that touches ND4J. */
package filigree.tensor;
