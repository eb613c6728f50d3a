package filigree.interp.circuit;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.BitSet;
import java.util.List;

/**
 * A tap that puts given outputs in place of those of some nodes.
 *
 * @param graph the nodes
 * @param base the run that is patched
 * @param instead what the patched nodes write
 * @param patched their numbers among the senders
 */
record NodePatch(CircuitGraph graph, Recorded base, Senders instead, BitSet patched)
    implements Tap {
  /** Runs the model with this patch, from the first block that it changes. */
  static double[] run(Study study, Pair pair, NodePatch patch) {
    Study.Start start = patch.start();
    return study.run(pair, start, patch.patched().isEmpty() ? List.of() : List.of(patch));
  }

  private Study.Start start() {
    if (patched.get(0)) {
      return new Study.Start(0, instead.input());
    }
    int first = patched.nextSetBit(0);
    int layer = first < 0 ? graph.layers() - 1 : (first - 1) / (graph.heads() + 1);
    return Study.Start.at(layer, base);
  }

  @Override
  public boolean wants(Site site) {
    for (int layer = 0; layer < graph.layers(); layer++) {
      if (isPatchedHead(layer, site) || isPatchedMlp(layer, site)) {
        return true;
      }
    }
    return false;
  }

  private boolean isPatchedHead(int layer, Site site) {
    int first = patched.nextSetBit(graph.headSender(layer));
    return first >= 0 && first < graph.mlpSender(layer) && site.equals(Places.z(layer));
  }

  private boolean isPatchedMlp(int layer, Site site) {
    return patched.get(graph.mlpSender(layer)) && site.equals(Places.mlpOutput(layer));
  }

  @Override
  public Var see(Pass pass, Site site, Var value) {
    for (int layer = 0; layer < graph.layers(); layer++) {
      if (isPatchedMlp(layer, site)) {
        return pass.constant(instead.mlp().get(layer));
      }
      if (isPatchedHead(layer, site)) {
        return pass.constant(heads(pass, layer, value.value()));
      }
    }
    return value;
  }

  private Tensor heads(Pass pass, int layer, Tensor value) {
    Kernels kernels = pass.scope().kernels();
    Tensor out = value.copy(pass.scope().memory());
    Shape shape = out.shape();
    Tensor slice = pass.make(Shape.of(shape.dim(0), shape.dim(1), 1, shape.dim(3)), out.dtype());
    for (int head = 0; head < graph.heads(); head++) {
      if (patched.get(graph.headSender(layer) + head)) {
        kernels.copyAlong(instead.z().get(layer), head, slice, 0, 2, 1);
        kernels.copyAlong(slice, 0, out, head, 2, 1);
      }
    }
    return out;
  }
}
