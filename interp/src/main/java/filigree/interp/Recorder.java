package filigree.interp;

import filigree.autograd.AutogradException;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.tensor.Memory;
import filigree.tensor.Tensor;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;

/** A tap that copies the values of chosen sites and changes nothing. */
public final class Recorder implements Tap {
  private final Set<Site> wanted;
  private final Memory memory;
  private final Map<Site, Tensor> seen = new LinkedHashMap<>();

  /**
   * Makes a recorder.
   *
   * @param wanted the sites to copy
   * @param memory owns the copies
   */
  public Recorder(Collection<Site> wanted, Memory memory) {
    this.wanted = new LinkedHashSet<>(wanted);
    this.memory = memory;
  }

  @Override
  public Holding holding() {
    return Holding.COPIES;
  }

  @Override
  public boolean wants(Site site) {
    return wanted.contains(site);
  }

  @Override
  public Var see(Pass pass, Site site, Var value) {
    seen.put(site, value.value().copy(memory));
    return value;
  }

  /**
   * Returns what a site held when the run passed it last.
   *
   * @param site a wanted site
   * @return the copy
   * @throws AutogradException where no run has passed it
   */
  public Tensor at(Site site) {
    Tensor value = seen.get(site);
    if (value == null) {
      throw new AutogradException("no run has passed " + site + " with this recorder yet");
    }
    return value;
  }
}
