/** Finds which parts of a model compute an answer: taps, patching, attribution and circuits. */
package filigree.interp;
