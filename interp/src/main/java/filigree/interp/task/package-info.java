/** Tasks: pairs of prompts whose difference decides the answer. */
package filigree.interp.task;
