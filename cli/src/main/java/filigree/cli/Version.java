package filigree.cli;

import picocli.CommandLine;

/** The version of this build, from the jar's manifest. */
final class Version implements CommandLine.IVersionProvider {
  static String number() {
    String version = Version.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  @Override
  public String[] getVersion() {
    return new String[] {"filigree " + number()};
  }
}
