package dev.nemeton.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.inject.Injector;
import org.apache.druid.discovery.DruidLeaderSelector;
import org.apache.druid.indexer.TaskStatus;
import org.apache.druid.indexing.common.actions.SegmentAllocationQueue;
import org.apache.druid.indexing.common.actions.TaskAction;
import org.apache.druid.indexing.common.actions.TaskActionToolbox;
import org.apache.druid.indexing.common.config.TaskStorageConfig;
import org.apache.druid.indexing.common.task.NoopTask;
import org.apache.druid.indexing.common.task.Task;
import org.apache.druid.indexing.common.task.Tasks;
import org.apache.druid.indexing.overlord.GlobalTaskLockbox;
import org.apache.druid.indexing.overlord.HeapMemoryTaskStorage;
import org.apache.druid.indexing.overlord.IndexerMetadataStorageCoordinator;
import org.apache.druid.indexing.overlord.config.TaskLockConfig;
import org.apache.druid.indexing.overlord.supervisor.SupervisorManager;
import org.apache.druid.java.util.common.Intervals;
import org.apache.druid.java.util.common.concurrent.ScheduledExecutors;
import org.apache.druid.java.util.emitter.core.NoopEmitter;
import org.apache.druid.java.util.emitter.service.ServiceEmitter;
import org.apache.druid.metadata.IndexerSQLMetadataStorageCoordinator;
import org.apache.druid.metadata.MetadataStorageConnectorConfig;
import org.apache.druid.metadata.MetadataStorageTablesConfig;
import org.apache.druid.metadata.NoopMetadataStorageProvider;
import org.apache.druid.metadata.SQLMetadataConnector;
import org.apache.druid.metadata.segment.SqlSegmentMetadataTransactionFactory;
import org.apache.druid.metadata.segment.cache.NoopSegmentMetadataCache;
import org.apache.druid.metadata.storage.derby.DerbyConnector;
import org.apache.druid.segment.metadata.CentralizedDatasourceSchemaConfig;
import org.apache.druid.segment.metadata.SegmentSchemaManager;
import org.apache.druid.segment.metadata.SqlIndexingStateStorage;
import org.apache.druid.timeline.DataSegment;
import org.apache.druid.timeline.SegmentTimeline;
import org.apache.druid.timeline.TimelineObjectHolder;
import org.apache.druid.timeline.partition.PartitionChunk;
import org.joda.time.DateTimeUtils;
import org.joda.time.Interval;
import org.skife.jdbi.v2.DBI;

import java.lang.reflect.Proxy;
import java.sql.ResultSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * Druid's own task actions, metadata coordinator (on a Derby in memory) and segment timeline as judges: steps, each
 * answered as Druid answers it. The clock is set to each step's.
 */
final class Segments
{
  private final ObjectMapper druid;
  private final MetadataStorageTablesConfig tables = MetadataStorageTablesConfig.fromBase("druid");
  private SQLMetadataConnector connector;

  Segments(Injector injector)
  {
    druid = injector.getInstance(ObjectMapper.class);
  }

  /** Takes {steps} of tasks and actions, from empty tables on; answers {answers}, each {result} with the task's {locks}, {error} or {rows}. */
  ObjectNode judge(JsonNode request) throws Exception
  {
    Episode episode = new Episode();
    ObjectNode answer = druid.createObjectNode();
    ArrayNode answers = answer.putArray("answers");
    try {
      for (JsonNode step : request.get("steps")) {
        DateTimeUtils.setCurrentMillisFixed(step.get("now").asLong());
        ObjectNode said = answers.addObject();
        try {
          episode.take(step, said);
        }
        catch (Exception refusal) {
          said.put("error", String.valueOf(refusal.getMessage()));
        }
      }
    }
    finally {
      DateTimeUtils.setCurrentMillisSystem();
      episode.close();
    }
    return answer;
  }

  /** Takes {steps}: add or remove {segments}, then says what is seen in {interval} and what is hidden. */
  ObjectNode timeline(JsonNode request) throws Exception
  {
    SegmentTimeline timeline = new SegmentTimeline();
    // The timeline itself tells only of what is not hidden within its chunk
    Set<DataSegment> there = new HashSet<>();
    ObjectNode answer = druid.createObjectNode();
    ArrayNode answers = answer.putArray("answers");
    for (JsonNode step : request.get("steps")) {
      for (JsonNode raw : step.get("segments")) {
        DataSegment segment = druid.treeToValue(raw, DataSegment.class);
        if (step.get("do").asText().equals("add")) {
          timeline.add(segment);
          there.add(segment);
        } else {
          timeline.remove(segment);
          there.remove(segment);
        }
      }
      Interval interval = Intervals.of(step.get("interval").asText());
      ObjectNode said = answers.addObject();
      said.set("complete", holders(timeline.lookup(interval)));
      said.set("all", holders(timeline.lookupWithIncompletePartitions(interval)));
      ArrayNode hidden = druid.createArrayNode();
      there.stream()
           .filter(timeline::isOvershadowed)
           .map(segment -> segment.getId().toString())
           .sorted()
           .forEach(hidden::add);
      said.set("overshadowed", hidden);
    }
    return answer;
  }

  private ArrayNode holders(List<TimelineObjectHolder<String, DataSegment>> found)
  {
    ArrayNode all = druid.createArrayNode();
    for (TimelineObjectHolder<String, DataSegment> holder : found) {
      ObjectNode one = all.addObject();
      one.put("interval", holder.getInterval().toString());
      one.put("trueInterval", holder.getTrueInterval().toString());
      one.put("version", holder.getVersion());
      ArrayNode segments = one.putArray("segments");
      for (PartitionChunk<DataSegment> chunk : holder.getObject()) {
        segments.add(chunk.getObject().getId().toString());
      }
    }
    return all;
  }

  private final class Episode
  {
    private final ServiceEmitter emitter = new ServiceEmitter("peer", "localhost", new NoopEmitter());
    private final HeapMemoryTaskStorage storage = new HeapMemoryTaskStorage(new TaskStorageConfig(null));
    private final IndexerMetadataStorageCoordinator coordinator = coordinator(emitter);
    private final GlobalTaskLockbox lockbox = new GlobalTaskLockbox(storage, coordinator);
    private final SegmentAllocationQueue queue =
        new SegmentAllocationQueue(lockbox, new TaskLockConfig(), coordinator, emitter, ScheduledExecutors::fixed);
    private final TaskActionToolbox toolbox = new TaskActionToolbox(
        lockbox, storage, coordinator, queue, emitter, new SupervisorManager(druid, null), druid
    );
    private final Map<String, Task> tasks = new HashMap<>();

    Episode()
    {
      lockbox.syncFromStorage();
      queue.start();
      queue.becomeLeader();
    }

    void close()
    {
      queue.stopBeingLeader();
      queue.stop();
    }

    void take(JsonNode step, ObjectNode said) throws Exception
    {
      switch (step.get("do").asText()) {
        case "start":
          start(step);
          break;
        case "finish":
          Task ended = tasks.get(step.get("task").asText());
          lockbox.remove(ended);
          storage.setStatus(TaskStatus.success(ended.getId()));
          break;
        case "act":
          act(step, said);
          break;
        case "look":
          said.set("rows", rows());
          break;
        default:
          throw new IllegalArgumentException(step.get("do").asText());
      }
    }

    private void start(JsonNode step)
    {
      Map<String, Object> context = new HashMap<>();
      context.put(Tasks.PRIORITY_KEY, step.get("priority").asInt());
      Task task = new NoopTask(
          step.get("task").asText(), step.get("group").asText(), step.get("dataSource").asText(), 1, 0, context
      );
      tasks.put(task.getId(), task);
      storage.insert(task, TaskStatus.running(task.getId()));
      lockbox.add(task);
    }

    /** As Druid's local action client does it: what can be batched goes through the queue. */
    private void act(JsonNode step, ObjectNode said) throws Exception
    {
      Task task = tasks.get(step.get("task").asText());
      TaskAction<?> action = druid.treeToValue(step.get("action"), TaskAction.class);
      Object result = action.canPerformAsync(task, toolbox)
                      ? action.performAsync(task, toolbox).get(1, TimeUnit.MINUTES)
                      : action.perform(task, toolbox);
      Map<String, Object> answer = new HashMap<>();
      answer.put("result", result);
      said.set("result", druid.readTree(druid.writeValueAsBytes(answer)).get("result"));
      ArrayNode locks = said.putArray("locks");
      lockbox.findLocksForTask(task)
             .stream()
             .map(lock -> lock.getType() + " " + lock.getInterval() + " " + lock.isRevoked())
             .sorted()
             .forEach(locks::add);
    }
  }

  private IndexerMetadataStorageCoordinator coordinator(ServiceEmitter emitter)
  {
    if (connector == null) {
      // Derby would write a log beside whoever starts the JVM
      System.setProperty("derby.stream.error.file", "/dev/null");
      connector = new DerbyConnector(
          new NoopMetadataStorageProvider().get(),
          MetadataStorageConnectorConfig::new,
          () -> tables,
          new DBI("jdbc:derby:memory:peer;create=true"),
          CentralizedDatasourceSchemaConfig.create()
      );
      connector.createIndexingStatesTable();
    }
    IndexerSQLMetadataStorageCoordinator coordinator = new IndexerSQLMetadataStorageCoordinator(
        new SqlSegmentMetadataTransactionFactory(
            druid, tables, connector, alone(), NoopSegmentMetadataCache.instance(), emitter
        ),
        druid,
        tables,
        connector,
        new SegmentSchemaManager(tables, druid, connector),
        CentralizedDatasourceSchemaConfig.create(),
        new SqlIndexingStateStorage(tables, druid, connector)
    );
    coordinator.start();
    for (String table : new String[]{
        tables.getSegmentsTable(),
        tables.getPendingSegmentsTable(),
        tables.getUpgradeSegmentsTable(),
        tables.getDataSourceTable()
    }) {
      connector.retryWithHandle(handle -> handle.createStatement("DELETE FROM " + table).execute());
    }
    return coordinator;
  }

  private ObjectNode rows()
  {
    ObjectNode all = druid.createObjectNode();
    all.set("segments", rows("id, used, payload, upgraded_from_segment_id", tables.getSegmentsTable()));
    all.set(
        "pending",
        rows(
            "id, sequence_name, sequence_prev_id, sequence_name_prev_id_sha1, payload, task_allocator_id, "
            + "upgraded_from_segment_id",
            tables.getPendingSegmentsTable()
        )
    );
    all.set("upgrades", rows("task_id, segment_id, lock_version", tables.getUpgradeSegmentsTable()));
    all.set("metadata", rows("dataSource, commit_metadata_payload", tables.getDataSourceTable()));
    return all;
  }

  private ArrayNode rows(String columns, String table)
  {
    ArrayNode all = druid.createArrayNode();
    connector.retryWithHandle(
        handle -> handle.createQuery("SELECT " + columns + " FROM " + table)
                        .map((index, row, context) -> {
                          ArrayNode one = all.addArray();
                          for (String column : columns.split(", ")) {
                            add(one, column, row);
                          }
                          return 0;
                        })
                        .list()
    );
    return all;
  }

  private void add(ArrayNode one, String column, ResultSet row)
  {
    try {
      if (column.endsWith("payload")) {
        one.add(druid.readTree(row.getBytes(column)));
      } else if (column.equals("used")) {
        one.add(row.getBoolean(column));
      } else {
        one.add(row.getString(column));
      }
    }
    catch (Exception problem) {
      throw new IllegalStateException(problem);
    }
  }

  /** One Overlord, which leads. */
  private static DruidLeaderSelector alone()
  {
    return (DruidLeaderSelector) Proxy.newProxyInstance(
        Segments.class.getClassLoader(),
        new Class<?>[]{DruidLeaderSelector.class},
        (proxy, method, arguments) -> {
          Class<?> answer = method.getReturnType();
          return answer == boolean.class ? (Object) true : answer == int.class ? (Object) 1 : null;
        }
    );
  }
}
