/** Benchmarks of kernels, passes and training steps, each of which checks its own result. */
package filigree.bench;
