package dev.nemeton.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.inject.Injector;
import org.apache.druid.indexer.TaskStatus;
import org.apache.druid.indexing.common.SegmentLock;
import org.apache.druid.indexing.common.TaskLock;
import org.apache.druid.indexing.common.actions.TaskAction;
import org.apache.druid.indexing.common.actions.TaskActionToolbox;
import org.apache.druid.indexing.common.config.TaskStorageConfig;
import org.apache.druid.indexing.common.task.NoopTask;
import org.apache.druid.indexing.common.task.Task;
import org.apache.druid.indexing.common.task.Tasks;
import org.apache.druid.indexing.overlord.CriticalAction;
import org.apache.druid.indexing.overlord.GlobalTaskLockbox;
import org.apache.druid.indexing.overlord.HeapMemoryTaskStorage;
import org.apache.druid.indexing.overlord.IndexerMetadataStorageCoordinator;
import org.apache.druid.indexing.overlord.http.TaskLockResponse;
import org.apache.druid.java.util.common.Intervals;
import org.apache.druid.metadata.LockFilterPolicy;
import org.joda.time.DateTimeUtils;

import java.lang.reflect.Proxy;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Druid's own lockbox as a judge: an episode of steps, each answered as the Overlord answers it, with the locks of all
 * tasks after it. The lockbox, its storage, the tasks and the actions are Druid's; the clock is set to each step's.
 */
final class Locks
{
  private static final String CANNOT_REVOKE_FROM_SEVERAL = "Failed to find lock posse";

  private final ObjectMapper druid;

  Locks(Injector injector)
  {
    druid = injector.getInstance(ObjectMapper.class);
  }

  /** Takes {steps}; answers {answers}: {result} or {error}, and {locks} where they are other than before. */
  ObjectNode judge(JsonNode request) throws Exception
  {
    Episode episode = new Episode();
    ObjectNode answer = druid.createObjectNode();
    ArrayNode answers = answer.putArray("answers");
    JsonNode before = druid.createObjectNode();
    for (JsonNode step : request.get("steps")) {
      DateTimeUtils.setCurrentMillisFixed(step.get("now").asLong());
      ObjectNode said = answers.addObject();
      try {
        episode.take(step, said);
      }
      catch (Exception refusal) {
        said.put("error", String.valueOf(refusal.getMessage()));
      }
      JsonNode after = episode.locks();
      if (!after.equals(before)) {
        said.set("locks", after);
        before = after;
      }
    }
    DateTimeUtils.setCurrentMillisSystem();
    return answer;
  }

  private final class Episode
  {
    private final HeapMemoryTaskStorage storage = new HeapMemoryTaskStorage(new TaskStorageConfig(null));
    private final GlobalTaskLockbox lockbox = new GlobalTaskLockbox(storage, nothingStored());
    private final TaskActionToolbox toolbox =
        new TaskActionToolbox(lockbox, storage, nothingStored(), null, null, druid);
    private final Map<String, Task> tasks = new TreeMap<>();

    Episode()
    {
      lockbox.syncFromStorage();
    }

    void take(JsonNode step, ObjectNode said) throws Exception
    {
      String kind = step.get("do").asText();
      switch (kind) {
        case "start":
          start(step);
          break;
        case "finish":
          lockbox.remove(task(step));
          if (storage.getStatus(task(step).getId()).get().isRunnable()) {
            storage.setStatus(TaskStatus.success(task(step).getId()));
          }
          break;
        case "unlockAll":
          lockbox.unlockAll(task(step));
          break;
        case "act":
          act(step, said);
          break;
        case "publish":
          said.put("result", publish(step));
          break;
        case "lockedIntervals":
          said.set("result", druid.valueToTree(lockbox.getLockedIntervals(filters(step))));
          break;
        case "activeLocks":
          TaskLockResponse shown = new TaskLockResponse(lockbox.getActiveLocks(filters(step)));
          said.set("result", druid.readTree(druid.writeValueAsBytes(shown)));
          break;
        default:
          throw new IllegalArgumentException(kind);
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

    /** The answer's JSON text is the Overlord's: the result inside a map, written by Druid's mapper. */
    private void act(JsonNode step, ObjectNode said) throws Exception
    {
      TaskAction<?> action = druid.treeToValue(step.get("action"), TaskAction.class);
      Map<String, Object> answer = new HashMap<>();
      int again = 0;
      while (true) {
        try {
          answer.put("result", action.perform(task(step), toolbox));
          break;
        }
        catch (IllegalStateException defect) {
          // A lock of several holders is lost at its first holder, and the search for the second one's fails.
          // Whoever asks again finds it revoked, so asking again is what leads on, here as for a peon.
          if (!String.valueOf(defect.getMessage()).startsWith(CANNOT_REVOKE_FROM_SEVERAL)) {
            throw defect;
          }
          said.put("askedAgain", ++again);
        }
      }
      said.set("result", druid.readTree(druid.writeValueAsBytes(answer)).get("result"));
    }

    private String publish(JsonNode step) throws Exception
    {
      CriticalAction<String> told = new CriticalAction.Builder<String>()
          .onValidLocks(() -> "valid")
          .onInvalidLocks(() -> "revoked")
          .build();
      return lockbox.doInCriticalSection(
          task(step), Collections.singleton(Intervals.of(step.get("interval").asText())), told
      );
    }

    private List<LockFilterPolicy> filters(JsonNode step) throws Exception
    {
      return Collections.singletonList(druid.treeToValue(step.get("filter"), LockFilterPolicy.class));
    }

    private Task task(JsonNode step)
    {
      return tasks.get(step.get("task").asText());
    }

    /** By task: granularity, type, interval, version, partition, revoked of each lock, as texts in order. */
    JsonNode locks()
    {
      ObjectNode all = druid.createObjectNode();
      for (Task task : tasks.values()) {
        ArrayNode own = druid.createArrayNode();
        lockbox.findLocksForTask(task).stream().map(Locks::text).sorted().forEach(own::add);
        if (!own.isEmpty()) {
          all.set(task.getId(), own);
        }
      }
      return all;
    }
  }

  private static String text(TaskLock lock)
  {
    String partition = lock instanceof SegmentLock ? " " + ((SegmentLock) lock).getPartitionId() : "";
    return lock.getGranularity() + " " + lock.getType() + " " + lock.getGroupId() + " " + lock.getInterval() + " "
           + lock.getVersion() + " " + lock.getPriority() + partition + (lock.isRevoked() ? " revoked" : "");
  }

  /** No segment was ever published or allocated: questions are answered by nothing, changes change nothing. */
  private static IndexerMetadataStorageCoordinator nothingStored()
  {
    return (IndexerMetadataStorageCoordinator) Proxy.newProxyInstance(
        Locks.class.getClassLoader(),
        new Class<?>[]{IndexerMetadataStorageCoordinator.class},
        (proxy, method, arguments) -> {
          Class<?> answer = method.getReturnType();
          return answer == int.class ? (Object) 0 : answer == boolean.class ? (Object) false : null;
        }
    );
  }
}
