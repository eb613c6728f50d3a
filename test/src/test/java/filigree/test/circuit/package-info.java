/** Circuits of real models. */
package filigree.test.circuit;
