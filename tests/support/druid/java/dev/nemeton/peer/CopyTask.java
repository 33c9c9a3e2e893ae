package dev.nemeton.peer;

import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/**
 * CopyTask JDBC_URL TASK_ID COUNT [SOURCES]: puts COUNT copies of a task into Druid's metadata store, each under an id
 * of its own, finished or active as the task is. Ten thousand finished tasks this way take a second; run one after the
 * other they would take a day. With SOURCES they are of so many datasources, in turn.
 */
public final class CopyTask
{
  private CopyTask()
  {
  }

  public static void main(String[] args) throws SQLException
  {
    String id = args[1];
    int count = Integer.parseInt(args[2]);
    int sources = args.length > 3 ? Integer.parseInt(args[3]) : 0;
    try (Connection connection = DriverManager.getConnection(args[0])) {
      connection.setAutoCommit(false);
      try (PreparedStatement select = connection.prepareStatement(
          "SELECT created_date, datasource, payload, status_payload, type, group_id, active FROM druid_tasks WHERE id = ?"
      );
           PreparedStatement insert = connection.prepareStatement(
               "INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, type, group_id, active)"
               + " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
           )) {
        select.setString(1, id);
        ResultSet row = select.executeQuery();
        if (!row.next()) {
          throw new IllegalArgumentException("No task " + id);
        }
        String payload = new String(row.getBytes(3), StandardCharsets.UTF_8);
        String status = new String(row.getBytes(4), StandardCharsets.UTF_8);
        for (int i = 0; i < count; i++) {
          String copy = String.format("%s_%07d", id, i + 1);
          String source = sources > 0 ? "source-" + (i + 1) % sources : row.getString(2);
          String owned = payload.replace(
              "\"dataSource\":\"" + row.getString(2) + "\"",
              "\"dataSource\":\"" + source + "\""
          );
          insert.setString(1, copy);
          insert.setString(2, row.getString(1));
          insert.setString(3, source);
          insert.setBytes(4, owned.replace(id, copy).getBytes(StandardCharsets.UTF_8));
          insert.setBytes(5, status.replace(id, copy).getBytes(StandardCharsets.UTF_8));
          insert.setString(6, row.getString(5));
          insert.setString(7, copy);
          insert.setBoolean(8, row.getBoolean(7));
          insert.addBatch();
          if (i % 1000 == 999) {
            insert.executeBatch();
          }
        }
        insert.executeBatch();
      }
      connection.commit();
    }
  }
}
