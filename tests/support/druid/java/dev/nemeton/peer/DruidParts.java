package dev.nemeton.peer;

import com.google.inject.Injector;
import com.google.inject.Module;
import org.apache.druid.cli.DumpSegment;
import org.apache.druid.guice.IndexingServiceTuningConfigModule;
import org.apache.druid.guice.StartupInjectorBuilder;
import org.apache.druid.metadata.input.InputSourceModule;

import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/**
 * Druid's own {@code tools dump-segment} command, with its Guice injector made once and kept, so that the second
 * segment costs milliseconds and not a JVM start. What reads the bytes is the inherited, unmodified code.
 */
public class DruidParts extends DumpSegment
{
  private static Injector injector;

  /** The injector of {@code dump-segment}, plus input sources and tuning configurations for {@link Writer}. */
  static synchronized Injector shared()
  {
    if (injector == null) {
      Properties properties = new Properties();
      properties.setProperty("druid.extensions.loadList", "[]");
      properties.setProperty("druid.processing.buffer.sizeBytes", "25000000");
      properties.setProperty("druid.processing.numThreads", "1");
      properties.setProperty("druid.processing.numMergeBuffers", "1");
      Injector startup = new StartupInjectorBuilder().withProperties(properties).build();
      DruidParts first = new DruidParts();
      startup.injectMembers(first);
      injector = first.freshInjector();
    }
    return injector;
  }

  private Injector freshInjector()
  {
    return super.makeInjector();
  }

  @Override
  public Injector makeInjector()
  {
    return shared();
  }

  @Override
  protected List<? extends Module> getModules()
  {
    List<Module> modules = new ArrayList<>(super.getModules());
    modules.add(new InputSourceModule());
    modules.add(new IndexingServiceTuningConfigModule());
    return modules;
  }
}
