package dev.nemeton.peer;

import com.google.common.collect.ImmutableMap;
import com.google.inject.Binder;
import com.google.inject.Inject;
import com.google.inject.Key;
import org.apache.druid.client.coordinator.Coordinator;
import org.apache.druid.client.indexing.IndexingService;
import org.apache.druid.discovery.DiscoveryDruidNode;
import org.apache.druid.discovery.DruidLeaderSelector;
import org.apache.druid.discovery.DruidNodeAnnouncer;
import org.apache.druid.discovery.DruidNodeDiscovery;
import org.apache.druid.discovery.DruidNodeDiscoveryProvider;
import org.apache.druid.discovery.NodeRole;
import org.apache.druid.guice.LazySingleton;
import org.apache.druid.guice.PolyBind;
import org.apache.druid.initialization.DruidModule;
import org.apache.druid.server.DruidNode;

import java.util.Collection;
import java.util.Collections;
import java.util.Properties;
import java.util.function.BooleanSupplier;

/**
 * {@code druid.discovery.type=static}: the one Overlord and the one Coordinator are where two properties say
 * ({@code druid.discovery.static.overlord} and {@code .coordinator}, {@code host:port}), and nobody else is anywhere.
 * In place of ZooKeeper, which is all that the core jars can do; the peon beside it is unmodified.
 */
public class StaticDiscovery implements DruidModule
{
  private static final String TYPE = "static";

  @Override
  public void configure(Binder binder)
  {
    PolyBind.optionBinder(binder, Key.get(DruidNodeDiscoveryProvider.class))
            .addBinding(TYPE).to(Nodes.class).in(LazySingleton.class);
    PolyBind.optionBinder(binder, Key.get(DruidNodeAnnouncer.class)).addBinding(TYPE).toInstance(new Silence());
    PolyBind.optionBinder(binder, Key.get(DruidLeaderSelector.class, Coordinator.class))
            .addBinding(TYPE).toInstance(new NeverLeads());
    PolyBind.optionBinder(binder, Key.get(DruidLeaderSelector.class, IndexingService.class))
            .addBinding(TYPE).toInstance(new NeverLeads());
  }

  /** Every role has one node or none, from the start. */
  static class Nodes extends DruidNodeDiscoveryProvider
  {
    private final Properties properties;

    @Inject
    Nodes(Properties properties)
    {
      this.properties = properties;
    }

    @Override
    public BooleanSupplier getForNode(DruidNode node, NodeRole role)
    {
      return () -> getForNodeRole(role).getAllNodes().stream().anyMatch(each -> each.getDruidNode().equals(node));
    }

    @Override
    public DruidNodeDiscovery getForNodeRole(NodeRole role)
    {
      Collection<DiscoveryDruidNode> nodes = nodes(role);
      return new DruidNodeDiscovery()
      {
        @Override
        public Collection<DiscoveryDruidNode> getAllNodes()
        {
          return nodes;
        }

        @Override
        public void registerListener(Listener listener)
        {
          listener.nodesAdded(nodes);
          listener.nodeViewInitialized();
        }
      };
    }

    private Collection<DiscoveryDruidNode> nodes(NodeRole role)
    {
      String place = properties.getProperty("druid.discovery.static." + role.getJsonName());
      if (place == null) {
        return Collections.emptyList();
      }
      String[] parts = place.split(":");
      String service = "druid/" + role.getJsonName();
      DruidNode node = new DruidNode(service, parts[0], true, Integer.valueOf(parts[1]), null, true, false);
      return Collections.singletonList(new DiscoveryDruidNode(node, role, ImmutableMap.of()));
    }
  }

  /** The peon tells nobody that it is there. */
  static class Silence implements DruidNodeAnnouncer
  {
    @Override
    public void announce(DiscoveryDruidNode node)
    {
    }

    @Override
    public void unannounce(DiscoveryDruidNode node)
    {
    }
  }

  /** A peon never leads, and finds who does through {@link Nodes}. */
  static class NeverLeads implements DruidLeaderSelector
  {
    @Override
    public String getCurrentLeader()
    {
      return null;
    }

    @Override
    public boolean isLeader()
    {
      return false;
    }

    @Override
    public int localTerm()
    {
      return 0;
    }

    @Override
    public void registerListener(Listener listener)
    {
    }

    @Override
    public void unregisterListener()
    {
    }
  }
}
