package dev.nemeton.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.inject.Injector;
import org.apache.druid.common.guava.FutureUtils;
import org.apache.druid.data.input.InputFormat;
import org.apache.druid.data.input.InputRow;
import org.apache.druid.data.input.InputSource;
import org.apache.druid.indexer.granularity.GranularitySpec;
import org.apache.druid.indexing.common.task.AbstractBatchIndexTask;
import org.apache.druid.indexing.common.task.IndexTask;
import org.apache.druid.indexing.common.task.InputSourceProcessor;
import org.apache.druid.indexing.common.task.batch.parallel.iterator.DefaultIndexTaskInputRowIteratorBuilder;
import org.apache.druid.indexing.overlord.SegmentPublishResult;
import org.apache.druid.java.util.common.parsers.CloseableIterator;
import org.apache.druid.segment.IndexIO;
import org.apache.druid.segment.IndexMergerV9;
import org.apache.druid.segment.SegmentSchemaMapping;
import org.apache.druid.segment.incremental.ParseExceptionHandler;
import org.apache.druid.segment.incremental.SimpleRowIngestionMeters;
import org.apache.druid.segment.indexing.DataSchema;
import org.apache.druid.segment.loading.LocalDataSegmentKiller;
import org.apache.druid.segment.loading.LocalDataSegmentPusher;
import org.apache.druid.segment.loading.LocalDataSegmentPusherConfig;
import org.apache.druid.segment.metadata.CentralizedDatasourceSchemaConfig;
import org.apache.druid.segment.realtime.SegmentGenerationMetrics;
import org.apache.druid.segment.realtime.appenderator.Appenderator;
import org.apache.druid.segment.realtime.appenderator.Appenderators;
import org.apache.druid.segment.realtime.appenderator.BatchAppenderatorDriver;
import org.apache.druid.segment.realtime.appenderator.SegmentAllocator;
import org.apache.druid.segment.realtime.appenderator.SegmentIdWithShardSpec;
import org.apache.druid.segment.realtime.appenderator.TransactionalSegmentPublisher;
import org.apache.druid.segment.writeout.TmpFileSegmentWriteOutMediumFactory;
import org.apache.druid.timeline.DataSegment;
import org.apache.druid.timeline.partition.BuildingNumberedShardSpec;
import org.joda.time.DateTime;
import org.joda.time.Interval;
import org.joda.time.chrono.ISOChronology;

import java.io.File;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Runs what Druid's {@code index} task runs between "locks granted" and "publish", by Druid's own classes: input
 * source, row parsing, in-memory index, intermediate persists, IndexMergerV9, push to a folder. Partitions are those
 * of a dynamic partitionsSpec. Only the counting of partition numbers is ours; in a task the Overlord's locks do it.
 */
final class Writer
{
  private final ObjectMapper json;
  private final IndexIO indexIo;

  Writer(Injector injector)
  {
    json = injector.getInstance(ObjectMapper.class);
    indexIo = injector.getInstance(IndexIO.class);
  }

  /** Takes {spec, version, out}; spec as in a task of type index. Answers {segments, rowStats, unparseableEvents}. */
  ObjectNode write(JsonNode request) throws Exception
  {
    File out = new File(request.get("out").asText());
    LocalDataSegmentPusherConfig storage = new LocalDataSegmentPusherConfig();
    storage.storageDirectory = new File(out, "deep");
    File scratch = Files.createTempDirectory(out.toPath(), "scratch").toFile();
    JsonNode spec = request.get("spec");
    DataSchema schema = json.treeToValue(spec.get("dataSchema"), DataSchema.class);
    InputSource source = json.treeToValue(spec.at("/ioConfig/inputSource"), InputSource.class);
    InputFormat format = json.treeToValue(spec.at("/ioConfig/inputFormat"), InputFormat.class);
    ObjectNode tuningJson = (ObjectNode) spec.get("tuningConfig").deepCopy();
    tuningJson.put("type", "index");
    IndexTask.IndexTuningConfig tuning = json.treeToValue(tuningJson, IndexTask.IndexTuningConfig.class)
                                             .withBasePersistDirectory(new File(scratch, "persist"));
    if (schema.getGranularitySpec().inputIntervals().isEmpty()) {
      schema = schema.withGranularitySpec(
          schema.getGranularitySpec().withIntervals(intervalsOf(schema, source, format, scratch))
      );
    }

    SimpleRowIngestionMeters meters = new SimpleRowIngestionMeters();
    ParseExceptionHandler parseExceptions = new ParseExceptionHandler(
        meters, false, tuning.getMaxParseExceptions(), tuning.getMaxSavedParseExceptions()
    );
    Appenderator appenderator = Appenderators.createBatch(
        "peer", schema, tuning, new SegmentGenerationMetrics(), new LocalDataSegmentPusher(storage), json, indexIo,
        new IndexMergerV9(json, indexIo, TmpFileSegmentWriteOutMediumFactory.instance(), true),
        meters, parseExceptions, CentralizedDatasourceSchemaConfig.create()
    );
    BatchAppenderatorDriver driver = new BatchAppenderatorDriver(
        appenderator, allocator(schema, request.get("version").asText()), ids -> Collections.emptySet(),
        new LocalDataSegmentKiller(storage)
    );
    Collection<DataSegment> segments;
    try {
      driver.startJob();
      InputSourceProcessor.process(
          schema, driver, tuning.getGivenOrDefaultPartitionsSpec(), source, format, scratch,
          (interval, row) -> interval.toString(), new DefaultIndexTaskInputRowIteratorBuilder(),
          meters, parseExceptions, tuning.getPushTimeout()
      );
      segments = published(driver);
    }
    finally {
      appenderator.closeNow();
    }
    ObjectNode answer = json.createObjectNode();
    answer.set("segments", json.valueToTree(segments));
    answer.set("rowStats", json.valueToTree(meters.getTotals()));
    answer.set("unparseableEvents", json.valueToTree(parseExceptions.getSavedParseExceptionReports()));
    return answer;
  }

  /** Lets the driver hand its pushed segments, with their shard specs finished, to a publisher that only keeps them. */
  private static Collection<DataSegment> published(BatchAppenderatorDriver driver) throws Exception
  {
    Set<DataSegment> kept = new TreeSet<>();
    TransactionalSegmentPublisher keeper = new TransactionalSegmentPublisher()
    {
      @Override
      public SegmentPublishResult publishAnnotatedSegments(
          Set<DataSegment> overwritten,
          Set<DataSegment> segments,
          Object commitMetadata,
          SegmentSchemaMapping schemas
      )
      {
        kept.addAll(segments);
        return SegmentPublishResult.ok(segments);
      }
    };
    FutureUtils.get(driver.publishAll(null, Collections.emptySet(), keeper, segments -> segments, null), true);
    return kept;
  }

  private static SegmentAllocator allocator(DataSchema schema, String version)
  {
    Map<Interval, Integer> next = new HashMap<>();
    GranularitySpec granularity = schema.getGranularitySpec();
    return (row, sequence, previous, skipLineageCheck) -> {
      Interval bucket = granularity.bucketInterval(row.getTimestamp()).get().withChronology(ISOChronology.getInstanceUTC());
      int partition = next.merge(bucket, 1, Integer::sum) - 1;
      return new SegmentIdWithShardSpec(
          schema.getDataSource(), bucket, version, new BuildingNumberedShardSpec(partition)
      );
    };
  }

  /** The buckets that the rows fall into: what a task without intervals finds in its first pass. */
  private static List<Interval> intervalsOf(DataSchema schema, InputSource source, InputFormat format, File scratch)
      throws Exception
  {
    SimpleRowIngestionMeters meters = new SimpleRowIngestionMeters();
    TreeSet<Interval> buckets = new TreeSet<>((a, b) -> Long.compare(a.getStartMillis(), b.getStartMillis()));
    try (CloseableIterator<InputRow> rows = AbstractBatchIndexTask.inputSourceReader(
        scratch, schema, source, format, row -> row != null, meters,
        new ParseExceptionHandler(meters, false, Integer.MAX_VALUE, 0)
    )) {
      while (rows.hasNext()) {
        DateTime time = rows.next().getTimestamp();
        buckets.add(schema.getGranularitySpec().getSegmentGranularity().bucket(time)
                          .withChronology(ISOChronology.getInstanceUTC()));
      }
    }
    return new ArrayList<>(buckets);
  }
}
