package dev.nemeton.peer;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.inject.Injector;
import com.google.inject.Key;
import org.apache.druid.guice.annotations.Json;
import org.apache.druid.indexing.common.RetryPolicyConfig;
import org.apache.druid.indexing.common.actions.RemoteTaskActionClientFactory;
import org.apache.druid.indexing.common.actions.TaskAction;
import org.apache.druid.indexing.common.task.Task;
import org.apache.druid.indexing.overlord.supervisor.SupervisorSpec;
import org.apache.druid.java.util.common.Intervals;
import org.apache.druid.java.util.common.lifecycle.Lifecycle;
import org.apache.druid.java.util.http.client.HttpClientConfig;
import org.apache.druid.java.util.http.client.HttpClientInit;
import org.apache.druid.metadata.LockFilterPolicy;
import org.apache.druid.rpc.FixedServiceLocator;
import org.apache.druid.rpc.ServiceClientFactory;
import org.apache.druid.rpc.ServiceClientFactoryImpl;
import org.apache.druid.rpc.ServiceLocation;
import org.apache.druid.rpc.StandardRetryPolicy;
import org.apache.druid.rpc.indexing.OverlordClient;
import org.apache.druid.rpc.indexing.OverlordClientImpl;
import org.apache.druid.server.coordinator.ClusterCompactionConfig;
import org.apache.druid.server.http.SegmentsToUpdateFilter;
import org.apache.druid.timeline.SegmentId;

import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Calls an Overlord as Druid's services do: {@code OverlordClientImpl} and {@code RemoteTaskActionClient}, unmodified,
 * over Druid's own HTTP client. What they read out of the answers is printed as JSON; what they throw is the error.
 */
final class OverlordCaller
{
  private static final long PATIENCE_S = 60;

  private final ObjectMapper json;
  private final ServiceClientFactory clients;

  OverlordCaller(Injector injector) throws Exception
  {
    json = injector.getInstance(Key.get(ObjectMapper.class, Json.class));
    Lifecycle lifecycle = new Lifecycle();
    clients = new ServiceClientFactoryImpl(
        HttpClientInit.createClient(HttpClientConfig.builder().withNumConnections(2).build(), lifecycle),
        Executors.newSingleThreadScheduledExecutor(work -> {
          Thread thread = new Thread(work, "overlord-caller");
          thread.setDaemon(true);
          return thread;
        })
    );
    lifecycle.start();
  }

  /** {@code {"port":P,"call":NAME,...}}; the arguments are those of the method of that name. */
  ObjectNode call(JsonNode request) throws Exception
  {
    FixedServiceLocator overlord =
        new FixedServiceLocator(new ServiceLocation("127.0.0.1", request.get("port").asInt(), -1, ""));
    Object result;
    if ("perform".equals(request.get("call").asText())) {
      RetryPolicyConfig once = new RetryPolicyConfig().setMaxRetryCount(0);
      Task task = json.treeToValue(request.get("task"), Task.class);
      TaskAction<?> action = json.treeToValue(request.get("action"), TaskAction.class);
      result = new RemoteTaskActionClientFactory(json, clients, overlord, once).create(task).submit(action);
    } else {
      OverlordClient client = new OverlordClientImpl(
          clients.makeClient("overlord", overlord, StandardRetryPolicy.noRetries()), json);
      ListenableFuture<?> answer = ask(client, request);
      result = answer.get(PATIENCE_S, TimeUnit.SECONDS);
      if (result instanceof org.apache.druid.java.util.common.parsers.CloseableIterator) {
        result = ImmutableList.copyOf((java.util.Iterator<?>) result);
      }
    }
    ObjectNode node = json.createObjectNode();
    node.set("result", json.readTree(json.writeValueAsString(result)));
    return node;
  }

  private ListenableFuture<?> ask(OverlordClient client, JsonNode with) throws Exception
  {
    String id = with.path("id").asText(null);
    String source = with.path("dataSource").asText(null);
    switch (with.get("call").asText()) {
      case "findCurrentLeader":
        return client.findCurrentLeader();
      case "runTask":
        return client.runTask(id, json.convertValue(with.get("task"), new TypeReference<java.util.Map<String, Object>>() {}));
      case "runKillTask":
        return client.runKillTask("peer", source, Intervals.of(with.get("interval").asText()), null, 7, null);
      case "cancelTask":
        return client.cancelTask(id);
      case "taskStatus":
        return client.taskStatus(id);
      case "taskStatuses":
        return id == null ? client.taskStatuses(with.path("state").asText(null), source, 10) : client.taskStatuses(ImmutableSet.of(id));
      case "taskPayload":
        return client.taskPayload(id);
      case "taskReportAsMap":
        return client.taskReportAsMap(id);
      case "findLockedIntervals":
        return client.findLockedIntervals(ImmutableList.of(new LockFilterPolicy(source, 0, null, null)));
      case "postSupervisor":
        return client.postSupervisor(json.treeToValue(with.get("spec"), SupervisorSpec.class));
      case "supervisorStatuses":
        return client.supervisorStatuses();
      case "terminateSupervisor":
        return client.terminateSupervisor(id);
      case "getWorkers":
        return client.getWorkers();
      case "getTotalWorkerCapacity":
        return client.getTotalWorkerCapacity();
      case "killPendingSegments":
        return client.killPendingSegments(source, Intervals.of(with.get("interval").asText()));
      case "markSegmentsAsUnused":
        return id == null
               ? with.has("filter")
                 ? client.markSegmentsAsUnused(source, json.treeToValue(with.get("filter"), SegmentsToUpdateFilter.class))
                 : client.markSegmentsAsUnused(source)
               : client.markSegmentAsUnused(SegmentId.tryParse(source, id));
      case "markSegmentsAsUsed":
        return id == null
               ? with.has("filter")
                 ? client.markNonOvershadowedSegmentsAsUsed(source, json.treeToValue(with.get("filter"), SegmentsToUpdateFilter.class))
                 : client.markNonOvershadowedSegmentsAsUsed(source)
               : client.markSegmentAsUsed(SegmentId.tryParse(source, id));
      case "isCompactionSupervisorEnabled":
        return client.isCompactionSupervisorEnabled();
      case "getClusterCompactionConfig":
        return client.getClusterCompactionConfig();
      case "updateClusterCompactionConfig":
        return client.updateClusterCompactionConfig(json.treeToValue(with.get("config"), ClusterCompactionConfig.class));
      default:
        throw new IllegalArgumentException("no such call: " + with.get("call"));
    }
  }
}
