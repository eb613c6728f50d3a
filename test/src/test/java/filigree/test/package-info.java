/**
 * Tests that cross modules: every op and kernel, parity with references, architecture, end to end.
 */
package filigree.test;
