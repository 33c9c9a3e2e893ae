import com.fasterxml.jackson.databind.InjectableValues;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.Base64;
import org.apache.druid.data.input.ColumnsFilter;
import org.apache.druid.data.input.InputFormat;
import org.apache.druid.data.input.InputRow;
import org.apache.druid.data.input.InputRowSchema;
import org.apache.druid.data.input.impl.ByteEntity;
import org.apache.druid.data.input.impl.CsvInputFormat;
import org.apache.druid.data.input.impl.DelimitedInputFormat;
import org.apache.druid.data.input.impl.DimensionsSpec;
import org.apache.druid.data.input.impl.JsonInputFormat;
import org.apache.druid.data.input.impl.TimestampSpec;
import org.apache.druid.jackson.DefaultObjectMapper;
import org.apache.druid.java.util.common.parsers.CloseableIterator;
import org.apache.druid.java.util.common.parsers.ParseException;

/** Reads cases, one JSON object a line, with Druid's own readers, and prints each with the rows and errors it gave. */
public class ReadRecords
{
  public static void main(String[] args) throws Exception
  {
    ObjectMapper mapper = new DefaultObjectMapper();
    InjectableValues.Std values = new InjectableValues.Std();
    values.addValue(ObjectMapper.class, mapper);
    mapper.setInjectableValues(values);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
    PrintStream out = new PrintStream(System.out, true, "UTF-8");
    String line;
    while ((line = in.readLine()) != null) {
      ObjectNode one = (ObjectNode) mapper.readTree(line);
      read(mapper, one);
      out.println(mapper.writeValueAsString(one));
    }
  }

  private static void read(ObjectMapper mapper, ObjectNode one) throws Exception
  {
    TimestampSpec time = mapper.treeToValue(one.get("timestampSpec"), TimestampSpec.class);
    DimensionsSpec dimensions = one.has("dimensionsSpec")
                                ? mapper.treeToValue(one.get("dimensionsSpec"), DimensionsSpec.class)
                                : DimensionsSpec.EMPTY;
    ByteEntity entity = new ByteEntity(Base64.getDecoder().decode(one.get("data").asText()));
    ArrayNode rows = one.putArray("rows");
    ArrayNode errors = one.putArray("errors");
    try (CloseableIterator<InputRow> records = format(mapper, one.get("format")).createReader(
        new InputRowSchema(time, dimensions, ColumnsFilter.all()), entity, new File("."))
        .read()) {
      while (records.hasNext()) {
        try {
          InputRow row = records.next();
          ObjectNode fields = mapper.createObjectNode();
          for (String name : row.getDimensions()) {
            fields.set(name, mapper.valueToTree(row.getRaw(name)));
          }
          rows.addArray().add(row.getTimestampFromEpoch()).add(fields);
        }
        catch (ParseException e) {
          errors.addArray().add(e.getInput()).add(e.getMessage());
        }
      }
    }
  }

  private static InputFormat format(ObjectMapper mapper, JsonNode raw) throws Exception
  {
    switch (raw.get("type").asText()) {
      case "json":
        return mapper.treeToValue(raw, JsonInputFormat.class);
      case "csv":
        return mapper.treeToValue(raw, CsvInputFormat.class);
      default:
        return mapper.treeToValue(raw, DelimitedInputFormat.class);
    }
  }
}
