package dev.nemeton.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;

/**
 * One JVM of Druid that stays up for a whole test run: a JSON request a line on stdin, a JSON answer a line on stdout.
 * Logs go to stderr. Ends when stdin does.
 *
 * <pre>
 * {"op":"dump","directory":D,"out":O}           O/rows.jsonl, O/metadata.json, O/bitmaps.json by dump-segment
 * {"op":"write","spec":S,"version":V,"out":O}   segments under O/deep; see {@link Writer}
 * {"op":"actions","steps":[...]}                what Druid's task actions answer; see {@link Segments}
 * {"op":"timeline","steps":[...]}               what Druid's timeline shows after each step
 * {"op":"locks","steps":[...]}                  what Druid's lockbox says to each step; see {@link Locks}
 * {"op":"overlord","port":P,"call":C,...}       what Druid's clients read out of an Overlord's answer; see {@link OverlordCaller}
 * </pre>
 */
public final class Workshop
{
  private Workshop()
  {
  }

  public static void main(String[] args) throws Exception
  {
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err);
    ObjectMapper json = new ObjectMapper();
    Writer writer = new Writer(DruidParts.shared());
    Segments segments = new Segments(DruidParts.shared());
    Locks locks = new Locks(DruidParts.shared());
    OverlordCaller caller = new OverlordCaller(DruidParts.shared());
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    answers.println("{\"ok\":true}");
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      ObjectNode answer;
      try {
        JsonNode request = json.readTree(line);
        switch (request.get("op").asText()) {
          case "dump":
            answer = dump(request, json);
            break;
          case "actions":
            answer = segments.judge(request);
            break;
          case "timeline":
            answer = segments.timeline(request);
            break;
          case "locks":
            answer = locks.judge(request);
            break;
          case "overlord":
            answer = caller.call(request);
            break;
          default:
            answer = writer.write(request);
        }
        answer.put("ok", true);
      }
      catch (Throwable problem) {
        StringWriter trace = new StringWriter();
        problem.printStackTrace(new PrintWriter(trace));
        answer = json.createObjectNode().put("ok", false).put("error", trace.toString());
      }
      answers.println(json.writeValueAsString(answer));
    }
    System.exit(0);
  }

  private static ObjectNode dump(JsonNode request, ObjectMapper json)
  {
    File out = new File(request.get("out").asText());
    for (String[] kind : new String[][]{{"rows", "rows.jsonl"}, {"metadata", "metadata.json"}, {"bitmaps", "bitmaps.json"}}) {
      DruidParts command = new DruidParts();
      command.directory = request.get("directory").asText();
      command.dumpTypeString = kind[0];
      command.decompressBitmaps = true;
      command.outputFileName = new File(out, kind[1]).getPath();
      command.run();
    }
    return json.createObjectNode();
  }
}
