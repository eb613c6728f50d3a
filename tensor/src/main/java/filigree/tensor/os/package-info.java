/** What is asked of the operating system itself. */
package filigree.tensor.os;
