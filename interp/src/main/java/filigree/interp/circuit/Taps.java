package filigree.interp.circuit;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import java.util.List;

/** Several taps, one after the other. */
record Taps(List<Tap> taps) implements Tap {
  @Override
  public boolean wants(Site site) {
    return taps.stream().anyMatch(tap -> tap.wants(site));
  }

  @Override
  public Var see(Pass pass, Site site, Var value) {
    Var seen = value;
    for (Tap tap : taps) {
      if (tap.wants(site)) {
        seen = tap.see(pass, site, seen);
      }
    }
    return seen;
  }
}
